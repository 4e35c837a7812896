"""A store in memory that keeps all, as the one on the disk does: a second opinion, and what a restart finds."""

from __future__ import annotations

import msgspec

from tiny_listener.events.store.memory import MemoryStore
from tiny_listener.events.store.ops import Contents, Delete, Insert, Op, Start, StoredEvent, ToDead, Update

__all__ = ["PRUNE_EVERY", "KeptStore"]

PRUNE_EVERY = 1024
"""New ids after which a commit deletes old ones."""
EVENT_SIZE = 400


class KeptStore(MemoryStore):
    def __init__(self, *, max_dead: int | None = None) -> None:
        super().__init__(max_dead=max_dead)
        self._events: dict[int, StoredEvent] = {}
        self._seen: dict[str, float] = {}
        self._next_seq = 1
        self._window: float | None = None
        self._new_ids = 0

    def load(self, now: float, dedup_window: float) -> Contents:
        self._window = dedup_window
        self._seen = {event_id: at for event_id, at in self._seen.items() if at >= now - dedup_window}
        contents = super().load(now, dedup_window)
        contents.events = [msgspec.structs.replace(event) for _, event in sorted(self._events.items())]
        contents.next_seq = self._next_seq
        contents.seen = sorted(self._seen.items(), key=lambda one: one[1])
        return contents

    def commit(self, ops: list[Op]) -> None:
        super().commit(ops)
        latest = 0.0
        for op in ops:
            match op:
                case Insert():
                    self._insert(op)
                    latest = max(latest, op.at)
                case Start():
                    self._start(op)
                case Delete():
                    self._events.pop(op.seq, None)
                case Update():
                    self._update(op)
                case ToDead(seq=int(seq)):
                    self._events.pop(seq, None)
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

    def _prune(self, now: float) -> None:
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

    def size(self, unsettled: int) -> int:
        events = sum(EVENT_SIZE + len(event.envelope.data) for event in self._events.values())
        return super().size(events)

    def tidy(self, now: float) -> None:
        self._prune(now)
