"""Which published events are taken in: duplicates, limits, and publishers that wait for room."""

from __future__ import annotations

from collections import deque
from typing import Final

from ..envelope import Envelope
from ..life import Entry, State
from ..messages import Confirm, Publish, Refuse
from ..store.ops import Insert
from .state import EngineState

__all__ = ["MAX_SEEN", "Admission"]

MAX_SEEN: Final = 500_000
"""Ids that are remembered, however long the window is: about 100 MB."""


class Admission:
    """Takes published events in.

    :param state: of the engine
    :param seen: ids within the dedup window and when they were stored, oldest first
    """

    def __init__(self, state: EngineState, seen: list[tuple[str, float]]) -> None:
        self._state: Final = state
        self._most_events: Final = state.limits.max_events
        self._most_bytes: Final = state.limits.max_bytes
        self._most: Final = min(state.limits.max_event, state.limits.max_bytes)
        self._seen: Final = dict(seen)
        self._backlog: Final[deque[tuple[float, int, Publish]]] = deque()
        self._requests: Final[dict[str, Entry]] = {}

    def load(self, entry: Entry) -> None:
        """Take note of an event of an earlier carrier: if it is a request, its publisher will ask again."""
        if entry.envelope.expires is not None:
            self._request(entry)

    def _request(self, entry: Entry) -> None:
        entry.is_request = True
        self._requests[entry.envelope.id] = entry

    def load_acked(self, seq: int, envelope: Envelope) -> Entry:
        """Return an event that an earlier carrier settled before its handler began: its key waits for the handler."""
        state = self._state
        entry = state.entries[seq] = state.entry_of(seq, envelope, envelope.size)
        entry.is_acked = True
        self.load(entry)
        state.schedule.add(entry, first=True)
        return entry

    @property
    def waiting(self) -> int:
        """The number of publishers that wait for room."""
        return len(self._backlog)

    @property
    def next_due(self) -> float | None:
        """When to call `tick` next."""
        return min((deadline for deadline, _, _ in self._backlog), default=None)

    def publish(self, message: Publish, now: float, number: int) -> None:
        """Take an event in, or let its publisher wait, or refuse it.

        :param number: of the publisher's link
        """
        if self._backlog or not self._take(message, now, number):
            self._wait(message, now, number)

    def _wait(self, message: Publish, now: float, number: int) -> None:
        if message.wait > 0 or self._backlog:
            self._backlog.append((now + message.wait, number, message))
        else:
            self._refuse(message, number)

    def _take(self, message: Publish, now: float, number: int) -> bool:
        """Store an event. Return False if there is no room for it."""
        state, envelope = self._state, message.envelope
        if (envelope.id in self._seen or message.wants_result) and self._is_duplicate(message, now):
            state.counters.of(envelope.route).published["duplicate"] += 1
            if message.wants_result and (asked := self._requests.get(envelope.id)) is not None:
                asked.reply_to = number, message.n  # the publisher has a new link
            state.sends[number].append(Confirm([message.n], duplicate=True))
            return True
        size = envelope.size
        if size > (most := self._most):  # there would never be room
            state.counters.of(envelope.route).published["failed"] += 1
            text = f"{size} bytes, and at most {most} are allowed"
            state.sends[number].append(Refuse(message.n, "too large", text))
            return True
        # PERF: `has_room` without the call, as it is asked for each event.
        waiting = len(state.entries) + len(state.delayed)
        if waiting >= self._most_events or state.size + size > self._most_bytes:
            return False
        entry = self.insert(envelope, size, now)
        entry.counters.published["stored"] += 1
        state.stored.append(entry.seq)
        confirm = state.confirms.get(number) or state.new_confirm(number)
        confirm.ns.append(message.n)
        if message.wants_result:
            entry.reply_to = number, message.n
            self._request(entry)
        return True

    def has_room(self, size: int) -> bool:
        """Whether an event of so many bytes may be added to those that wait or are in flight."""
        return self._state.number < self._most_events and self._state.size + size <= self._most_bytes

    def insert(
        self,
        envelope: Envelope,
        size: int,
        now: float,
        seq: int | None = None,
        *,
        first: bool = False,
        is_new: bool = True,
    ) -> Entry:
        """Store an event, and let it wait for its turn, or for its time.

        :param size: its bytes
        :param seq: its place in the order of storage; None: the last
        :param first: whether it comes before all others of its key
        :param is_new: see `Insert`
        """
        state = self._state
        if seq is None:
            seq, state.next_seq = state.next_seq, state.next_seq + 1
        entry = state.entry_of(seq, envelope, size)
        state.ops.append(Insert(entry.seq, envelope, now, is_new))
        self._seen[envelope.id] = now
        if envelope.due is not None and envelope.due > now:
            entry.state = State.DELAYED
            state.delayed[entry.seq] = entry
            state.timers.set(entry, envelope.due)
        else:
            entry.due = envelope.due = None
            state.entries[entry.seq] = entry
            state.schedule.add(entry, first=first)
        return entry

    def _is_duplicate(self, message: Publish, now: float) -> bool:
        id = message.envelope.id  # noqa: A001
        at = self._seen.get(id)
        if at is not None and now - at < self._state.limits.dedup_window:
            return True
        return message.wants_result and id in self._requests  # its publisher asks again after a long wait

    def _refuse(self, message: Publish, number: int) -> None:
        limits = self._state.limits
        self._state.counters.of(message.envelope.route).published["overloaded"] += 1
        text = (
            f"{self._state.number} events are waiting with {self._state.size} bytes "
            f"(--events-max {limits.max_events}, --events-max-bytes {limits.max_bytes})"
        )
        self._state.sends[number].append(Refuse(message.n, "overloaded", text))

    def tick(self, now: float) -> None:
        """Refuse publishers that have waited too long, let others in, and forget old ids."""
        if self._backlog:
            waiting = list(self._backlog)
            self._backlog.clear()
            for deadline, number, message in waiting:
                if self._backlog or not self._take(message, now, number):
                    if deadline <= now:
                        self._refuse(message, number)
                    else:
                        self._backlog.append((deadline, number, message))
        while self._seen:
            id, at = next(iter(self._seen.items()))  # noqa: A001
            if now - at < self._state.limits.dedup_window and len(self._seen) <= MAX_SEEN:
                break
            del self._seen[id]

    def answered(self, entry: Entry) -> None:
        """A request has its result, or its publisher is gone."""
        if entry.is_request:
            entry.is_request = False
            entry.reply_to = None
            self._requests.pop(entry.envelope.id, None)

    def forget(self, number: int) -> None:
        """A link is closed: drop what its publisher waits for."""
        kept = [waiting for waiting in self._backlog if waiting[1] != number]
        self._backlog.clear()
        self._backlog.extend(kept)

    def withdraw(self, seq: int) -> None:
        """An event could not be stored: remove it, as if it had never been published."""
        state = self._state
        entry = state.entries.get(seq) or state.delayed.get(seq)
        if entry is None:
            return  # it has expired meanwhile
        self.answered(entry)
        self._seen.pop(entry.envelope.id, None)
        counters = state.counters.of(entry.envelope.route)
        counters.published["stored"] -= 1
        counters.published["failed"] += 1
        if entry.first_started is not None:
            counters.started(max(0.0, entry.first_started - entry.envelope.published_at), -1)
        state.forget(entry)
        if entry.state is State.WAITING:
            state.schedule.remove(entry)
        elif entry.state is State.IN_FLIGHT:
            state.schedule.end(entry)
