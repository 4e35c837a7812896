"""The store of events in memory: it ends with its process."""

from __future__ import annotations

import logging
import secrets
from collections import Counter

import msgspec

from .ops import (
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
    ToDead,
    Update,
)

__all__ = ["MAX_DEAD", "MemoryStore"]

logger = logging.getLogger("tiny_listener")

MAX_DEAD = 10_000
"""Dead letters by default; the oldest is dropped for a new one."""
PRUNE_EVERY = 1024
"""New ids after which a commit deletes old ones."""
EVENT_SIZE = 400
"""Bytes of an event in memory without its data, about."""


class MemoryStore:
    """Implements `Store` without a disk. What it has survives the death of a worker, but not of its own process.

    :param max_dead: dead letters that it keeps
    :ivar id: see `Store`
    """

    def __init__(self, *, max_dead: int = MAX_DEAD) -> None:
        self.id = secrets.token_hex(8)
        self._max_dead = max_dead
        self._events: dict[int, StoredEvent] = {}
        self._seen: dict[str, float] = {}
        self._dead: dict[int, DeadLetter] = {}
        self._halted: dict[str, int] = {}
        self._counts: dict[str, bytes] = {}
        self._next_seq = 1
        self._next_dead = 1
        self._window: float | None = None
        self._new_ids = 0
        self._has_dropped = False

    def load(self, now: float, dedup_window: float) -> Contents:
        """Return all that is stored, and delete ids older than the window.

        :param now: seconds since 1970
        :param dedup_window: seconds
        """
        self._window = dedup_window
        self._seen = {event_id: at for event_id, at in self._seen.items() if at >= now - dedup_window}
        return Contents(
            events=[msgspec.structs.replace(event) for _, event in sorted(self._events.items())],
            next_seq=self._next_seq,
            seen=sorted(self._seen.items(), key=lambda one: one[1]),
            halted=dict(self._halted),
            dead=dict(Counter(letter.reason for letter in self._dead.values())),
            next_dead=self._next_dead,
            counts=dict(self._counts),
        )

    def commit(self, ops: list[Op]) -> None:
        """Apply operations in their order. It does not fail."""
        latest = 0.0
        for op in ops:
            if isinstance(op, Insert):
                self._insert(op)
                latest = max(latest, op.at)
            elif isinstance(op, Start):
                self._start(op)
            elif isinstance(op, Delete):
                self._events.pop(op.seq, None)
            else:
                self._apply(op)
        if self._new_ids >= PRUNE_EVERY:
            self._new_ids = 0
            self._prune(latest)

    def _insert(self, op: Insert) -> None:
        self._events[op.seq] = StoredEvent(op.seq, op.envelope)
        self._next_seq = max(self._next_seq, op.seq + 1)
        # The order of `_seen` is that of storage, so an id that comes again must move to the end.
        self._seen.pop(op.envelope.id, None)
        self._seen[op.envelope.id] = op.at
        self._new_ids += 1

    def _start(self, op: Start) -> None:
        for seq in op.seqs:
            event = self._events.get(seq)
            if event is not None:
                event.attempts += 1
                event.is_started = True
                if event.first_started is None:
                    event.first_started = op.at

    def _apply(self, op: Op) -> None:
        match op:
            case Update():
                self._update(op)
            case ToDead():
                if op.seq is not None:
                    self._events.pop(op.seq, None)
                self._keep(op.letter)
            case DropDead():
                self._dead.pop(op.number, None)
            case SetHalted():
                self._halted.pop(op.key, None)
                if op.number is not None:
                    self._halted[op.key] = op.number
            case Count():
                self._counts[op.route] = op.values
            case _:
                raise TypeError(f"no operation of a store: {op!r}")

    def _update(self, op: Update) -> None:
        if op.seq in self._events:
            self._events[op.seq] = StoredEvent(
                op.seq,
                self._events[op.seq].envelope,
                op.attempts,
                op.crashes,
                op.suspect,
                op.due,
                op.error,
                op.first_started,
            )

    def _keep(self, letter: DeadLetter) -> None:
        self._dead[letter.number] = letter
        self._next_dead = max(self._next_dead, letter.number + 1)
        if len(self._dead) <= self._max_dead:
            return
        # A letter that a key waits for is the last to go: without it, the operator could not let the key go on.
        awaited = set(self._halted.values())
        oldest = next(iter(self._dead))
        del self._dead[next((number for number in self._dead if number not in awaited), oldest)]
        if not self._has_dropped:
            self._has_dropped = True
            logger.warning(
                "The store of events in memory keeps %d dead letters, and drops the oldest ones from now on; "
                "a store on the disk keeps all",
                self._max_dead,
            )

    def _prune(self, now: float) -> None:
        """Delete ids older than the window, up to the first one that is not."""
        if self._window is None:
            return
        oldest = now - self._window
        old = []
        for event_id, at in self._seen.items():
            if at >= oldest:
                break
            old.append(event_id)
        for event_id in old:
            del self._seen[event_id]

    def dead_letters(
        self,
        *,
        reason: str | None = None,
        after: int = 0,
        limit: int = 100,
        id: str | None = None,  # noqa: A002
    ) -> list[DeadLetter]:
        """Return dead letters in the order in which they came; see `Store`."""
        found: list[DeadLetter] = []
        for number, letter in self._dead.items():
            if len(found) >= limit:
                break
            if number > after and reason in (None, letter.reason) and id in (None, letter.envelope.id):
                found.append(letter)
        return found

    def size(self) -> int:
        """Return about how many bytes its events and dead letters take."""
        stored = sum(EVENT_SIZE + len(event.envelope.data) for event in self._events.values())
        return stored + sum(EVENT_SIZE + len(letter.envelope.data) for letter in self._dead.values())

    def tidy(self, now: float) -> None:
        """Delete old ids.

        :param now: seconds since 1970
        """
        self._prune(now)

    def close(self) -> None:
        """Do nothing: a store in memory has nothing to close."""
