"""Random transactions on both stores, with restarts, crashes and failures, against a model."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.events.store import kept
from tests.events.store.samples import NOW, WINDOW, envelope, letter
from tiny_listener.events.policy import Reason
from tiny_listener.events.store import sqlite
from tiny_listener.events.store.ops import (
    Contents,
    Count,
    DeadLetter,
    Delete,
    DropDead,
    Insert,
    Op,
    SetHalted,
    Start,
    StoredEvent,
    StoreFailed,
    ToDead,
    Update,
)
from tiny_listener.events.store.sqlite import SQLiteStore

REASONS: tuple[Reason, ...] = ("attempts", "crashed")
KINDS = ("insert", "start", "update", "delete", "to dead", "drop", "halt", "count")


class Model:
    """What should be stored: each operation applied at once, to plain dicts."""

    def __init__(self) -> None:
        self.events: dict[int, StoredEvent] = {}
        self.seen: list[tuple[str, float]] = []
        self.letters: dict[int, DeadLetter] = {}
        self.halted: dict[str, int | None] = {}
        self.counts: dict[str, bytes] = {}
        self.seqs = 0
        self.numbers = 0

    def apply(self, op: Op) -> None:
        match op:
            case Insert():
                self.events[op.seq] = StoredEvent(op.seq, op.envelope)
                self.seen = [one for one in self.seen if one[0] != op.envelope.id] + [(op.envelope.id, op.at)]
                self.seqs = op.seq
            case Start():
                for seq in op.seqs:
                    old = self.events.get(seq, StoredEvent(0, envelope(0)))
                    first = op.at if old.first_started is None else old.first_started
                    self._change(seq, attempts=old.attempts + 1, first_started=first, is_started=True)
            case Update():
                self._change(**msgspec.structs.asdict(op), is_started=False)
            case Delete():
                self.events.pop(op.seq, None)
            case ToDead():
                self.events.pop(op.seq or 0, None)
                self.letters[op.letter.number] = op.letter
                self.numbers = op.letter.number
            case DropDead():
                self.letters.pop(op.number, None)
            case SetHalted():
                self.halted[op.key] = op.number
            case Count():
                self.counts[op.route] = op.values

    def _change(self, seq: int, **values: object) -> None:
        if seq in self.events:
            self.events[seq] = msgspec.structs.replace(self.events[seq], **values)

    def contents(self, now: float) -> Contents:
        dead = [letter.reason for letter in self.letters.values()]
        return Contents(
            events=[event for _, event in sorted(self.events.items())],
            next_seq=self.seqs + 1,
            seen=[one for one in self.seen if one[1] >= now - WINDOW],
            halted={key: number for key, number in self.halted.items() if number is not None},
            dead={reason: dead.count(reason) for reason in REASONS if reason in dead},
            next_dead=self.numbers + 1,
            counts=self.counts,
        )


@settings(max_examples=60, stateful_step_count=30)
class Stores(RuleBasedStateMachine):
    """Small limits make the stores fold, delete ids and truncate the WAL all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.cleanup = contextlib.ExitStack()
        limits = {"FOLD_ROWS": 4, "PRUNE_EVERY": 2, "PRUNE_ROWS": 3, "WAL_LOOK": 1, "WAL_LIMIT": 60_000}
        for name, value in limits.items():
            self.cleanup.enter_context(mock.patch.object(sqlite, name, value))
        self.cleanup.enter_context(mock.patch.object(kept, "PRUNE_EVERY", 3))
        self.folders = Path(self.cleanup.enter_context(tempfile.TemporaryDirectory()))
        self.folder = self.folders / "0"
        self.folder.mkdir()
        self.copies = 0
        self.now = NOW
        self.model = Model()
        self.memory = kept.KeptStore()
        self.sqlite = self.open()

    def teardown(self) -> None:
        try:
            self.load()
        finally:
            self.sqlite.close()
            self.cleanup.close()

    def open(self) -> SQLiteStore:
        store = SQLiteStore(self.folder, reserve=0)
        store._truncate_above = sqlite.WAL_LIMIT
        store.load(self.now, WINDOW)
        return store

    def copy(self) -> Path:
        self.copies += 1
        folder = self.folders / str(self.copies)
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("*-shm"))
        return folder

    def ops(self, data: st.DataObject) -> list[Op]:
        found: list[Op] = []
        last_seq, last_number = self.model.seqs, self.model.numbers
        for kind in data.draw(st.lists(st.sampled_from(KINDS), max_size=12)):
            seq = data.draw(st.integers(max(0, last_seq - 6), last_seq))
            number = data.draw(st.integers(max(1, last_number - 3), last_number + 1))
            small = data.draw(st.integers(0, 3))
            match kind:
                case "insert":
                    last_seq += 1
                    found.append(Insert(last_seq, envelope(last_seq - small, data=b"x" * 1500 * small), self.now))
                case "start":
                    found.append(Start(sorted({seq, max(0, seq - small)}), self.now))
                case "update":
                    error, first = ("E", "text") if small > 1 else None, self.now if small > 2 else None
                    found.append(Update(seq, small, small, small > 1, self.now, error, first))
                case "delete":
                    found.append(Delete(seq))
                case "to dead":
                    last_number += 1
                    one = letter(last_number, seq=seq, reason=REASONS[small % 2])
                    found.append(ToDead(seq if small else None, one))
                case "drop":
                    found.append(DropDead(number))
                case "halt":
                    found.append(SetHalted(f"key-{seq % 3}", number if small else None))
                case "count":
                    found.append(Count(f"/{seq % 3}", b"%d" % seq))
        return found

    @rule(data=st.data(), seconds=st.sampled_from([0, 1, WINDOW / 3]))
    def commit(self, data: st.DataObject, seconds: float) -> None:
        self.now += seconds
        ops = self.ops(data)
        for op in ops:
            self.model.apply(op)
        self.sqlite.commit(ops)
        self.memory.commit(ops)

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        ops = self.ops(data)
        with pytest.raises(StoreFailed):
            self.sqlite.commit([*ops, Count("/0", None)])  # type: ignore[arg-type]

    @rule()
    def restart(self) -> None:
        self.sqlite.close()
        self.sqlite = self.open()

    @rule()
    def kill(self) -> None:
        """Go on with the files as they are now: a process that is killed closes nothing."""
        self.folder = self.copy()
        self.sqlite.close()
        self.sqlite = self.open()

    @rule()
    def look_at_the_files(self) -> None:
        """Compare what another process would find, and leave the stores as they are."""
        store = SQLiteStore(self.copy(), reserve=0)
        assert store.load(self.now, WINDOW) == self.model.contents(self.now)
        store.close()

    @rule()
    def tidy(self) -> None:
        self.sqlite.tidy(self.now)
        self.memory.tidy(self.now)

    @rule()
    def wait(self) -> None:
        self.now += WINDOW / 2

    @rule(reason=st.sampled_from([None, *REASONS]), after=st.integers(0, 4), limit=st.integers(0, 4))
    def dead_letters(self, reason: Reason | None, after: int, limit: int) -> None:
        expected = [one for one in self.model.letters.values() if one.number > after and reason in (None, one.reason)][
            :limit
        ]
        for store in (self.sqlite, self.memory):
            assert store.dead_letters(reason=reason, after=after, limit=limit) == expected

    @rule()
    def load(self) -> None:
        expected = self.model.contents(self.now)
        assert self.sqlite.load(self.now, WINDOW) == expected
        assert self.memory.load(self.now, WINDOW) == expected


TestStores = Stores.TestCase
