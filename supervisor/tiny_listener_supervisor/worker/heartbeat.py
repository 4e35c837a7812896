"""The vitals of a worker: a few numbers in shared memory. It writes them ten times a second while it is in use, and
every two seconds while it is idle.

    number  meaning
    0       time of the last heartbeat, on the monotonic clock
    1       the longest recent delay of the loop, in seconds
    2       events in progress
    3       open connections
    4       seconds, beyond a tenth, that may pass until the next heartbeat (rest)

Each is an aligned double with one writer: a reader may see a value that is a tenth of a second old, but never a torn
one. The heartbeat is written before the rest, so a reader between the two never finds the loop later than it is.

A worker rests after a second without an event in flight. Whatever accepts an event ends the rest first
(`Lifecycle.on_activity`), so a handler that blocks the loop is detected as early as without rests. Other causes of a
blocked loop within a rest, such as a stopped process or a callback of the application, are detected when the rest is
over, or, if connections wait at its sockets, by those: see `fleet.handoff`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tiny_listener.process.ticks import call_at_next_tick

if TYPE_CHECKING:
    from tiny_listener import Listener

__all__ = ["LAG", "PERIOD", "REST", "STAMP", "Heartbeat", "Longest", "LoopLag", "Vitals", "lateness", "read_vitals"]

STAMP, LAG, IN_PROGRESS, CONNECTIONS, REST = range(5)
PERIOD = 0.1
"""Seconds between two heartbeats."""
LONG_PERIOD = 2.0
"""The same while it rests. Other timers of a worker have the same period (`ticks`), so that it wakes once for all of
them."""
QUIET = 10
"""Heartbeats without an event until it rests."""
WINDOW = 15.0
"""Seconds for which the longest delay is reported at least: Prometheus' default scrape interval."""


class Vitals(NamedTuple):
    """What a worker reports about itself.

    :ivar lag: the longest delay of its loop in the last 15 to 30 seconds, in seconds, or for how long it is blocked now
    :ivar in_progress: events whose handling has started but not ended
    :ivar connections: open connections
    """

    lag: float
    in_progress: int
    connections: int


def read_vitals(shown: memoryview[float], now: float) -> Vitals:
    """Return the vitals of a worker.

    :param now: on the monotonic clock
    """
    lag = max(shown[LAG], lateness(shown[STAMP] + shown[REST], now))
    return Vitals(lag, int(shown[IN_PROGRESS]), int(shown[CONNECTIONS]))


def lateness(stamp: float, now: float) -> float:
    """Return the seconds by which a loop with its last heartbeat at `stamp` is late."""
    return max(0.0, now - stamp - PERIOD)


class Longest:
    """The longest recent delay: in the current time window, or in the previous one."""

    def __init__(self) -> None:
        self._recent = self._before = 0.0
        self._window_ends = 0.0

    def add(self, lag: float, now: float) -> float:
        """Add a delay and return the longest; both in seconds.

        :param now: on the monotonic clock
        """
        if now >= self._window_ends:
            self._before, self._recent = self._recent, 0.0
            self._window_ends = now + WINDOW
        self._recent = max(self._recent, lag)
        return max(self._before, self._recent)


class LoopLag:
    """Measures the delay of this process's own loop.

    :param clock: monotonic, in seconds
    :ivar seconds: the longest delay in the last 15 to 30 seconds
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._longest = Longest()
        self._stamp = clock()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start measuring."""
        self._loop = loop
        self._stamp = self._clock()
        self._beat()

    def _beat(self) -> None:
        self.look()
        self._loop.call_later(PERIOD, self._beat)

    def look(self) -> None:
        """Measure the delay once."""
        now = self._clock()
        self.seconds = self._longest.add(lateness(self._stamp, now), now)
        self._stamp = now


class Heartbeat:
    """Reports that a worker's loop runs, and its vitals.

    :param shown: the shared memory to write to
    :param max_events: number of events after which the worker is due for replacement; None: no limit
    :param on_due: called once then, with the number of events
    """

    def __init__(
        self,
        shown: memoryview[float],
        listener: Listener[Any],
        max_events: int | None = None,
        on_due: Callable[[int], None] = lambda _events: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown = shown
        self._listener = listener
        self._max_events = max_events
        self._on_due = on_due
        self._clock = clock
        self._longest = Longest()
        self._quiet = 0
        self._dispatched = 0

    async def start(self) -> None:
        """Start sending heartbeats."""
        self._loop = asyncio.get_running_loop()
        self._shown[STAMP] = self._clock()
        self._beat()

    def _beat(self) -> None:
        self.show()
        if self._is_quiet():
            self._call_on_activity(self._end_rest)
            self._timer = call_at_next_tick(self._loop, LONG_PERIOD, self._beat)
            self._shown[REST] = max(0.0, self._timer.when() - self._loop.time() - PERIOD)
        else:
            self._call_on_activity(None)
            self._shown[REST] = 0.0
            self._timer = self._loop.call_later(PERIOD, self._beat)

    def _call_on_activity(self, on_activity: Callable[[], None] | None) -> None:
        loop: Any = self._loop
        self._listener.lifecycle.on_activity = loop.on_activity = on_activity

    def _is_quiet(self) -> bool:
        """Whether no event has been in flight for some heartbeats."""
        before, self._dispatched = self._dispatched, self._listener.hooks.dispatched
        is_busy = before != self._dispatched or self._listener.lifecycle.in_progress
        self._quiet = 0 if is_busy else min(self._quiet + 1, QUIET)
        return self._quiet == QUIET

    def _end_rest(self) -> None:
        """An event comes in: send a heartbeat now, and at the short period from now on."""
        self._timer.cancel()
        self._quiet = 0
        self._beat()

    def show(self) -> None:
        """Write the vitals."""
        now, shown, life = self._clock(), self._shown, self._listener.lifecycle
        shown[LAG] = self._longest.add(lateness(shown[STAMP] + shown[REST], now), now)
        shown[IN_PROGRESS] = life.in_progress
        shown[CONNECTIONS] = life.connections
        shown[STAMP] = now
        dispatched = self._listener.hooks.dispatched
        if self._max_events is not None and dispatched >= self._max_events:
            self._max_events = None
            self._on_due(dispatched)
