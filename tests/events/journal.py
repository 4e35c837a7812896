"""A store that is a dict: what a transaction does, in the plainest words."""

from __future__ import annotations

import copy

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
    ToDead,
    Update,
)


class Journal:
    """Applies operations to a dict of events."""

    def __init__(self) -> None:
        self.events: dict[int, StoredEvent] = {}
        self.started: dict[int, float] = {}
        self.seen: dict[str, float] = {}
        self.dead: dict[int, DeadLetter] = {}
        self.halted: dict[str, int] = {}
        self.counts: dict[str, bytes] = {}
        self.next_seq = self.next_dead = 1

    def commit(self, ops: list[Op]) -> None:
        for op in ops:
            self._apply(copy.deepcopy(op))

    def _apply(self, op: Op) -> None:
        match op:
            case Insert():
                assert op.seq not in self.events
                self.events[op.seq] = StoredEvent(op.seq, op.envelope)
                self.seen[op.envelope.id] = op.at
                self.next_seq = max(self.next_seq, op.seq + 1)
            case Start():
                for seq in op.seqs:
                    assert seq in self.events
                    self.started[seq] = op.at
            case Update():
                event = self.events[op.seq]
                self.started.pop(op.seq, None)
                event.attempts, event.crashes, event.suspect = op.attempts, op.crashes, op.suspect
                event.due, event.error, event.first_started = op.due, op.error, op.first_started
            case Delete():
                del self.events[op.seq]
                self.started.pop(op.seq, None)
            case ToDead():
                if op.seq is not None:
                    del self.events[op.seq]
                    self.started.pop(op.seq, None)
                self.dead[op.letter.number] = op.letter
                self.next_dead = op.letter.number + 1
            case DropDead():
                del self.dead[op.number]
            case SetHalted():
                if op.number is None:
                    del self.halted[op.key]
                else:
                    self.halted[op.key] = op.number
            case Count():
                self.counts[op.route] = op.values

    def load(self) -> Contents:
        events = []
        for seq in sorted(self.events):
            event = copy.deepcopy(self.events[seq])
            if seq in self.started:
                event.attempts += 1
                event.is_started = True
                event.first_started = event.first_started or self.started[seq]
            events.append(event)
        dead: dict[str, int] = {}
        for letter in self.dead.values():
            dead[letter.reason] = dead.get(letter.reason, 0) + 1
        return Contents(
            events, self.next_seq, list(self.seen.items()), dict(self.halted), dead, self.next_dead, dict(self.counts)
        )
