"""Opens the database of events: a new one is created, one that this version cannot use is refused."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ...errors import CarrierError

__all__ = ["FILE", "FULL", "LOCK_WAIT", "NO_ROOM", "VERSION", "connect", "plain_reason", "store_id", "transaction"]

FILE = "events.db"
"""The name of the database in its folder. SQLite adds `-wal` and `-shm`."""
VERSION = 1
"""Of the schema: `PRAGMA user_version`."""
FULL = "the disk is full"
"""Why a commit failed."""
NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})
"""How SQLite says that a file cannot grow: the second one is for a quota of the user, and a limit of the process."""
LOCK_WAIT = 2.0
"""Seconds to wait for another connection, such as an operator's shell or a backup, to end its transaction."""

# - events: the envelope comes last, so that a scan of the columns before it reads no overflow pages. Rows of `starts`
#   below `starts_from` do not count for an event.
# - starts: a journal. A row has the events that one transaction started, with the times, as MessagePack: one small row
#   instead of an UPDATE of each event.
# - seen: a log of the ids that one transaction stored, with their times, as MessagePack. `at` is the latest of them,
#   `last_seq` the largest number of an event. AUTOINCREMENT would not do: an event that is stored and settled by one
#   transaction has a number, but is never written to `events`.
# - meta: next_seq counts where `seen` has no larger number, so it is written only when rows of `seen` are deleted.
TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    """CREATE TABLE events (seq INTEGER PRIMARY KEY, attempts INTEGER NOT NULL DEFAULT 0,
       crashes INTEGER NOT NULL DEFAULT 0, suspect INTEGER NOT NULL DEFAULT 0, due REAL, error TEXT, error_text TEXT,
       first_started REAL, started INTEGER NOT NULL DEFAULT 0, starts_from INTEGER NOT NULL DEFAULT 0,
       envelope BLOB NOT NULL)""",
    "CREATE TABLE starts (number INTEGER PRIMARY KEY, seqs BLOB NOT NULL)",
    "CREATE TABLE seen (number INTEGER PRIMARY KEY, at REAL NOT NULL, last_seq INTEGER NOT NULL, ids BLOB NOT NULL)",
    "CREATE TABLE dead (number INTEGER PRIMARY KEY, id TEXT NOT NULL, reason TEXT NOT NULL, letter BLOB NOT NULL)",
    "CREATE TABLE halted (key TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE counts (route TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)


def connect(path: Path, sync: Literal["normal", "full"], partitions: int | None) -> sqlite3.Connection:
    """Open the database, in WAL mode, and create its tables if it is new.

    :param path: of its file
    :param sync: `normal` survives the death of every process, `full` also a power cut
    :param partitions: of the keys; a database with waiting events keeps the number that it has; None: any does
    :raises CarrierError: it is no database of events, has another schema or number of partitions, or cannot be used
    """
    try:
        db = sqlite3.connect(path, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as exc:
        raise CarrierError(_cannot_open(path, exc)) from None
    try:
        is_new = _check_version(db, path)
        _set_up(db, path, sync)
        if is_new:
            _create(db, partitions)
        elif partitions is not None:
            _check_partitions(db, path, partitions)
    except BaseException as exc:
        db.close()
        if isinstance(exc, sqlite3.Error):
            raise CarrierError(_cannot_open(path, exc)) from None
        raise
    return db


def store_id(db: sqlite3.Connection) -> str:
    """Return the id that was made when the database was created."""
    return str(db.execute("SELECT value FROM meta WHERE name = 'id'").fetchone()[0])


def plain_reason(exc: sqlite3.Error) -> str:
    """Return in one line why the database could not be read or written."""
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF  # the low byte: the rest tells which call failed
    name = getattr(exc, "sqlite_errorname", type(exc).__name__)
    text = " ".join(str(exc).split())
    return {
        sqlite3.SQLITE_FULL: FULL,
        sqlite3.SQLITE_IOERR: f"the disk cannot be read or written ({name})",
        sqlite3.SQLITE_READONLY: f"the database is read-only ({name})",
        sqlite3.SQLITE_CANTOPEN: f"the database cannot be opened ({name})",
        sqlite3.SQLITE_BUSY: f"another process has locked the database for over {LOCK_WAIT:g} s",
        sqlite3.SQLITE_LOCKED: "another process has locked the database",
        sqlite3.SQLITE_CORRUPT: f"the database is damaged: {text}",
        sqlite3.SQLITE_NOTADB: f"the database is damaged: {text}",
    }.get(code, f"the database failed: {text} ({name})")


def _cannot_open(path: Path, exc: sqlite3.Error) -> str:
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return (
            f"{path} is no SQLite database, or is damaged ({exc}): restore it from a backup, "
            "or move it away to start without the events in it"
        )
    return f"{path} cannot be used as the store of events: {plain_reason(exc)}"


def _check_version(db: sqlite3.Connection, path: Path) -> bool:
    """Return whether the database is empty. Nothing is written before it is known to be ours."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return False
    if version != 0:
        raise CarrierError(
            f"{path} has version {version} of the schema, and this version of tiny-listener reads version {VERSION}: "
            "run a version that reads it, or move the file away to start without the events in it"
        )
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise CarrierError(
            f"{path} is a database of another program: it has tables, and version 0 of the schema instead of "
            f"{VERSION}; choose a folder that only this server uses"
        )
    return True


def _set_up(db: sqlite3.Connection, path: Path, sync: Literal["normal", "full"]) -> None:
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise CarrierError(
            f"The file system of {path} cannot share memory, which SQLite needs for its WAL (mode {mode!r}): "
            "choose a folder on a local disk"
        )
    db.execute(f"PRAGMA synchronous = {'FULL' if sync == 'full' else 'NORMAL'}")
    # SQLite would checkpoint within whichever commit passes 1000 pages; SQLiteStore does it when little else happens.
    db.execute("PRAGMA wal_autocheckpoint = 0")
    # Debian compiles SQLite to overwrite what is deleted with zeros: each settled event would be written once more.
    db.execute("PRAGMA secure_delete = OFF")
    db.execute("PRAGMA cache_size = -16384")  # KiB: above the default of 2 MiB, so that most commits read nothing


def _create(db: sqlite3.Connection, partitions: int | None) -> None:
    with transaction(db):
        for table in TABLES:
            db.execute(table)
        meta = {"id": secrets.token_hex(8), "partitions": partitions, "next_seq": 1, "next_dead": 1}
        db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        db.execute(f"PRAGMA user_version = {VERSION}")


def _check_partitions(db: sqlite3.Connection, path: Path, partitions: int) -> None:
    stored = db.execute("SELECT value FROM meta WHERE name = 'partitions'").fetchone()[0]
    if stored == partitions:
        return
    waiting = db.execute("SELECT count(*) FROM events").fetchone()[0]
    if waiting and stored is not None:  # None: no server had it yet
        raise CarrierError(
            f"{path} has {stored} partitions and {waiting} waiting events, and cannot be changed to {partitions} "
            f"partitions: set {stored}, or change the number when no event waits"
        )
    with transaction(db):
        db.execute("UPDATE meta SET value = ? WHERE name = 'partitions'", (partitions,))


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block writes, or roll it back if the block or the commit fails.

    :raises sqlite3.Error: nothing was written
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
