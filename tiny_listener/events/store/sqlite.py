"""The store of events on the disk: SQLite in WAL mode, with one connection."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...errors import CarrierError
from ..envelope import PARTITIONS, Envelope
from .changes import Changes
from .ops import Contents, DeadLetter, Op, StoredEvent, StoreFailed, Update
from .presence import Presence, size_of
from .reserve import RESERVE, Reserve
from .schema import FILE, FULL, LOCK_WAIT, NO_ROOM, connect, plain_reason, store_id, transaction

__all__ = ["SQLiteStore"]

logger = logging.getLogger("tiny_listener")

WAL_LIMIT = 64 * 1024 * 1024
"""Bytes of the WAL file above which it is truncated. Up to it, SQLite writes over what a checkpoint has copied."""
WAL_LOOK = 16
"""Commits between two looks at the size of the WAL file."""
FOLD_ROWS = 1000
"""Rows of the journal of starts after which it is folded into the events."""
PRUNE_EVERY = 256
"""Commits with new ids after which old ids are deleted."""
PRUNE_ROWS = 4 * PRUNE_EVERY
"""Rows of ids, of one commit each, that are looked at then: more than came, so that a backlog shrinks."""

INSERT = "INSERT INTO events (seq, envelope) VALUES (?, ?)"
UPDATE = """UPDATE events SET attempts = ?, crashes = ?, suspect = ?, due = ?, error = ?, error_text = ?,
first_started = ?, started = 0, starts_from = ? WHERE seq = ?"""
FOLD = """UPDATE events SET attempts = attempts + ?, started = 1, first_started = coalesce(first_started, ?)
WHERE seq = ?"""
SEEN = "INSERT INTO seen (at, last_seq, ids) VALUES (?, ?, ?)"
PRUNE = "DELETE FROM seen WHERE number IN (SELECT number FROM seen ORDER BY number LIMIT ?) AND at < ?"
LETTERS = """SELECT letter FROM dead WHERE number > :after AND (:reason IS NULL OR reason = :reason)
AND (:id IS NULL OR id = :id) ORDER BY number LIMIT :limit"""

_encode = msgspec.msgpack.Encoder().encode
_envelope = msgspec.msgpack.Decoder(Envelope).decode
_letter = msgspec.msgpack.Decoder(DeadLetter).decode
_seen = msgspec.msgpack.Decoder(list[tuple[str, float]]).decode
_starts = msgspec.msgpack.Decoder(list[tuple[float, list[int]]]).decode


class SQLiteStore:
    """Implements `Store` with a database in a folder. `open_folder` checks and locks the folder first.

    Open it after any fork: a connection of SQLite must not be used in a child. Calls may come from several threads, one
    at a time. Call `load` once before the first `commit`.

    :param folder: an existing one, for this store alone
    :param sync: `normal` survives the death of every process; a power cut may undo the last commits. `full` survives
        both, and each commit waits for the disk
    :param reserve: bytes on the disk that are kept free for settling: when the disk is full, new events are refused,
        and all else is still written
    :param partitions: of the keys; another number than the database has is accepted only while no event waits;
        None: it keeps its own
    :ivar id: see `Store`
    :raises CarrierError: the database cannot be used; the text says why, and what would be right
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        sync: Literal["normal", "full"] = "normal",
        partitions: int | None = PARTITIONS,
        reserve: int = RESERVE,
    ) -> None:
        self._path = Path(folder) / FILE
        self._wal = self._path.with_name(f"{FILE}-wal")
        self._db = connect(self._path, sync, partitions)
        try:
            self.id = store_id(self._db)
            self._presence = Presence(self._path, self._wal)
            self._reserve = Reserve(self._path.with_name("reserve"), reserve)
            self._reserve.hold()
        except BaseException:
            self._db.close()
            raise
        self._started: dict[int, tuple[int, float]] = {}
        """What the journal says of events: starts, and the time of the first, by seq."""
        self._journal_rows = 0
        self._next_row = 1
        self._window: float | None = None
        self._next_seq = 1
        self._new_rows = 0
        self._commits = 0
        self._truncate_above = WAL_LIMIT
        self._is_dirty = True  # the WAL of an earlier process may be there
        self._complaints: set[str] = set()

    def load(self, now: float, dedup_window: float) -> Contents:
        """Return all that is stored, and delete ids older than the window.

        :param now: seconds since 1970
        :param dedup_window: seconds
        :raises CarrierError: it cannot be read
        """
        self._window = dedup_window
        try:
            # The answer has no old ids anyway: that they cannot be deleted, as on a full disk, is no reason to stop.
            contents = self._load(now - dedup_window)
            with contextlib.suppress(sqlite3.OperationalError):
                self._prune(now, -1)
            return contents
        except sqlite3.Error as exc:
            raise CarrierError(f"{self._path} cannot be read: {plain_reason(exc)}") from None
        except msgspec.MsgspecError as exc:
            raise CarrierError(
                f"{self._path} has an event that this version of tiny-listener cannot read ({exc}): run the version "
                "that wrote it, restore the file from a backup, or move it away to start without the events in it"
            ) from None

    def _load(self, oldest: float) -> Contents:
        db = self._db
        events, starts_from = self._load_events()
        self._load_starts(events, starts_from)
        # The same id may be there twice, when the engine forgot it earlier than the table did: the later time counts.
        seen: dict[str, float] = {}
        meta = dict(db.execute("SELECT name, value FROM meta"))
        self._next_seq = meta["next_seq"]
        for last_seq, ids in db.execute("SELECT last_seq, ids FROM seen ORDER BY number"):
            self._next_seq = max(self._next_seq, last_seq + 1)
            for event_id, at in _seen(ids):
                seen.pop(event_id, None)
                if at >= oldest:
                    seen[event_id] = at
        return Contents(
            events=list(events.values()),
            next_seq=self._next_seq,
            seen=sorted(seen.items(), key=lambda one: one[1]),
            halted=dict(db.execute("SELECT key, number FROM halted")),
            dead=dict(db.execute("SELECT reason, count(*) FROM dead GROUP BY reason")),
            next_dead=meta["next_dead"],
            counts=dict(db.execute("SELECT route, value FROM counts")),
        )

    def _load_events(self) -> tuple[dict[int, StoredEvent], dict[int, int]]:
        """Return the events without the journal, and the first row of it that counts for those that were updated."""
        events: dict[int, StoredEvent] = {}
        starts_from: dict[int, int] = {}
        self._next_row = 1
        rows = self._db.execute(
            "SELECT seq, envelope, attempts, crashes, suspect, due, error, error_text, first_started, started, "
            "starts_from FROM events ORDER BY seq"
        )
        for seq, blob, attempts, crashes, suspect, due, error, text, first_started, started, row in rows:
            failure = None if error is None else (error, text)
            events[seq] = StoredEvent(
                seq, _envelope(blob), attempts, crashes, bool(suspect), due, failure, first_started, bool(started)
            )
            if row:
                starts_from[seq] = row
                self._next_row = max(self._next_row, row)
        return events, starts_from

    def _load_starts(self, events: dict[int, StoredEvent], starts_from: dict[int, int]) -> None:
        """Apply the journal of starts."""
        self._started = {}
        self._journal_rows = 0
        for row, blob in self._db.execute("SELECT number, seqs FROM starts ORDER BY number"):
            self._journal_rows += 1
            self._next_row = max(self._next_row, row + 1)
            for at, seq in [(at, seq) for at, seqs in _starts(blob) for seq in seqs]:
                event = events.get(seq)
                if event is None or row < starts_from.get(seq, 0):
                    continue
                event.attempts += 1
                event.is_started = True
                if event.first_started is None:
                    event.first_started = at
                count, first = self._started.get(seq, (0, at))
                self._started[seq] = (count + 1, first)

    def commit(self, ops: list[Op]) -> None:
        """Write operations in one transaction: all of them or none.

        :raises StoreFailed: none was written, and why; the next commit may succeed
        """
        changes = Changes(ops)
        # What is lost would be confirmed. All else is written: the events that wait are to be handled nevertheless.
        if changes.has_new and (why := self._presence.lost()) is not None:
            raise StoreFailed(why)
        if changes.has_new and not self._reserve.hold():
            raise StoreFailed(FULL)
        try:
            self._transact(changes)
        except sqlite3.Error as exc:
            raise StoreFailed(plain_reason(exc)) from exc
        except (OverflowError, TypeError, ValueError) as exc:  # such as an integer over 64 bits, or a lone surrogate
            raise StoreFailed(f"a value cannot be stored: {' '.join(str(exc).split())}") from exc
        self._remember(changes)
        self._stay_small(changes)

    def _transact(self, changes: Changes) -> None:
        try:
            with transaction(self._db):
                self._write(changes)
        except sqlite3.Error as exc:
            if not self._make_room(exc) or changes.has_new:
                raise
            with transaction(self._db):
                self._write(changes)

    def _write(self, changes: Changes) -> None:
        many, one = self._db.executemany, self._db.execute
        # First: an operator may ask to drop a letter whose number comes only later in this transaction.
        if changes.deletes:
            many("DELETE FROM events WHERE seq = ?", changes.deletes)
        if changes.dropped:
            many("DELETE FROM dead WHERE number = ?", changes.dropped)
        if changes.inserts:
            many(INSERT, [(seq, _encode(envelope)) for seq, envelope in changes.inserts.items()])
        if changes.updates:
            many(UPDATE, [self._row_of(update) for update in changes.updates.values()])
        if changes.starts:
            one("INSERT INTO starts VALUES (?, ?)", (self._next_row, _encode(changes.starts)))
        if changes.seen:
            latest = max(at for _, at in changes.seen)
            one(SEEN, (latest, changes.last_seq, _encode(changes.seen)))
        if changes.last_dead:
            letters = changes.letters.values()
            many(
                "INSERT INTO dead VALUES (?, ?, ?, ?)",
                [(letter.number, letter.envelope.id, letter.reason, _encode(letter)) for letter in letters],
            )
            one("UPDATE meta SET value = max(value, ?) WHERE name = 'next_dead'", (changes.last_dead + 1,))
        for key, number in changes.halted.items():
            if number is None:
                one("DELETE FROM halted WHERE key = ?", (key,))
            else:
                one("INSERT OR REPLACE INTO halted VALUES (?, ?)", (key, number))
        if changes.counts:
            many("INSERT OR REPLACE INTO counts VALUES (?, ?)", changes.counts.items())

    def _row_of(self, update: Update) -> tuple[Any, ...]:
        error, text = update.error or (None, None)
        # This transaction's row of the journal has only starts that follow the update.
        return (
            update.attempts,
            update.crashes,
            update.suspect,
            update.due,
            error,
            text,
            update.first_started,
            self._next_row,
            update.seq,
        )

    def _remember(self, changes: Changes) -> None:
        """Follow in memory what was committed."""
        self._is_dirty = True
        self._next_seq = max(self._next_seq, changes.last_seq + 1)
        self._new_rows += bool(changes.seen)
        started = self._started
        if started:
            for seq in changes.updates:
                started.pop(seq, None)
            for (seq,) in changes.deletes:
                started.pop(seq, None)
        if changes.starts:
            self._next_row += 1
            self._journal_rows += 1
            for at, seqs in changes.starts:
                for seq in seqs:
                    count, first = started.get(seq, (0, at))
                    started[seq] = (count + 1, first)

    def _stay_small(self, changes: Changes) -> None:
        """Do now and then after a commit what cannot wait for `tidy`, which a busy carrier may never reach."""
        self._commits += 1
        if self._journal_rows >= FOLD_ROWS:
            self._try("fold its journal", self._fold)
        if self._new_rows >= PRUNE_EVERY:  # so this transaction has a new id
            self._new_rows = 0
            self._try("delete old ids", lambda: self._prune(changes.seen[-1][1], PRUNE_ROWS))
        if self._commits % WAL_LOOK == 0 and self._wal_size() > self._truncate_above:
            self._try("truncate its WAL", self._truncate)

    def _try(self, what: str, work: Callable[[], None]) -> None:
        """Do some of what keeps the database small. A failure is no failure of a commit, and is logged once.

        :param what: it does, for the log
        """
        try:
            work()
        except sqlite3.Error as exc:
            if what not in self._complaints:
                self._complaints.add(what)
                logger.warning("The store of events cannot %s, and grows: %s", what, plain_reason(exc))
        else:
            self._complaints.discard(what)

    def _fold(self) -> None:
        """Write the starts of the journal that still count to their events, and empty it."""
        self._journal_rows = 0  # even if it fails: the next attempt follows after as many rows
        with transaction(self._db):
            self._db.executemany(FOLD, [(count, at, seq) for seq, (count, at) in self._started.items()])
            self._db.execute("DELETE FROM starts")
        self._started.clear()
        self._is_dirty = True

    def _prune(self, now: float, limit: int) -> None:
        """Delete ids older than the window.

        :param limit: rows to look at, in the order of storage; -1: all
        """
        if self._window is None:
            return
        with transaction(self._db):
            if self._db.execute(PRUNE, (limit, now - self._window)).rowcount:
                self._db.execute("UPDATE meta SET value = ? WHERE name = 'next_seq'", (self._next_seq,))
                self._is_dirty = True

    def _checkpoint(self) -> None:
        """Copy the WAL to the database, as far as no reader and no disk that is full prevents it."""
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._is_dirty = False

    def _truncate(self) -> None:
        """Copy the WAL to the database, and empty its file."""
        self._checkpoint()  # most of the work, without a lock
        # Not to wait for a reader, such as an operator's shell: commits would wait as well.
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {int(LOCK_WAIT * 1000)}")
            self._truncate_above = self._wal_size() + WAL_LIMIT

    def _make_room(self, exc: sqlite3.Error) -> bool:
        """Give the reserve to the transactions that follow, and let them write over the WAL rather than append.

        :param exc: why a transaction failed
        :return: whether the disk was full, and the reserve was there to give
        """
        if getattr(exc, "sqlite_errorcode", 0) not in NO_ROOM:
            return False
        has_given = self._reserve.release()
        with contextlib.suppress(sqlite3.Error):
            self._checkpoint()
        return has_given

    def _wal_size(self) -> int:
        return size_of(self._wal)

    def dead_letters(
        self,
        *,
        reason: str | None = None,
        after: int = 0,
        limit: int = 100,
        id: str | None = None,  # noqa: A002
    ) -> list[DeadLetter]:
        """Return dead letters in the order in which they came; see `Store`.

        :raises CarrierError: they cannot be read
        """
        terms = {"reason": reason, "after": after, "limit": max(0, limit), "id": id}
        try:
            return [_letter(blob) for (blob,) in self._db.execute(LETTERS, terms)]
        except (sqlite3.Error, msgspec.MsgspecError) as exc:
            text = plain_reason(exc) if isinstance(exc, sqlite3.Error) else str(exc)
            raise CarrierError(f"The dead letters in {self._path} cannot be read: {text}") from None

    def size(self, unsettled: int) -> int:
        """Return the bytes of the database and of its WAL. Room of deleted events is used again, and not given back."""
        return size_of(self._path) + self._wal_size()

    def tidy(self, now: float) -> None:
        """Fold the journal of starts, delete some old ids, and checkpoint. It may take some 10 ms.

        :param now: seconds since 1970
        """
        if self._journal_rows:
            self._try("fold its journal", self._fold)
        self._try("delete old ids", lambda: self._prune(now, PRUNE_ROWS))
        if self._is_dirty:
            is_large = self._wal_size() > self._truncate_above
            self._try("copy its WAL", self._truncate if is_large else self._checkpoint)
        self._reserve.hold()

    def close(self) -> None:
        """Close it. SQLite then copies the WAL to the database and deletes it."""
        self._db.close()
