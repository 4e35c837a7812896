"""What is to happen to an event later: its retry, or the time for which it was published."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from ..life import Entry

__all__ = ["Timers"]


class Timers:
    """A heap of events by time. An event has at most one timer; a new one replaces it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Entry]] = []
        self._count = 0

    def set(self, entry: Entry, when: float) -> None:
        """Let an event fall due at a time."""
        self._count += 1
        entry.timer = self._count
        heapq.heappush(self._heap, (when, self._count, entry))

    def cancel(self, entry: Entry) -> None:
        """Remove the timer of an event."""
        entry.timer = 0

    def due(self, now: float) -> Iterator[Entry]:
        """Yield the events that have fallen due, in the order of their times."""
        while self._heap and self._heap[0][0] <= now:
            _, number, entry = heapq.heappop(self._heap)
            if entry.timer == number:
                entry.timer = 0
                yield entry

    def next(self) -> float | None:
        """Return when the next event falls due."""
        while self._heap and self._heap[0][2].timer != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
