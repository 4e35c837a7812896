"""What a worker shows of itself while it lives: a few numbers in shared memory, written ten times a second while it is
in use, and every two seconds while it is not.

    number  what
    0       when its loop turned last, on the monotonic clock
    1       the most seconds that the loop was late, lately
    2       events in progress
    3       open connections
    4       for how many seconds more than a tenth it may rest until its loop turns again

Each is a double, aligned, with one writer: it is read whole, or a tenth of a second old, but never torn. The stamp is
written before the rest, so that who reads between the two finds the loop no later than it is.

A worker rests when no event was in flight for a second. What takes events in ends the rest before it does anything else
(`Lifecycle.stir`), so that a handler which blocks the loop is found as late as ever. What else might stand still within
a rest, a worker that is stopped or a callback of the application's own, is found when the rest is over, or, where
somebody waits at its sockets, by that: see `lending`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tiny_listener.process.ticks import call_at_next_tick

if TYPE_CHECKING:
    from tiny_listener import Listener

__all__ = ["REST", "STAMP", "Longest", "LoopLag", "Pulse", "Vitals", "lateness", "read_vitals"]

STAMP, LAG, IN_PROGRESS, CONNECTIONS, REST = range(5)
PERIOD = 0.1
"""Seconds between two beats."""
LONG_PERIOD = 2.0
"""The same while it rests; as often as other timers of a worker (`ticks`), so that it wakes once for all of them."""
QUIET = 10
"""Beats without an event until it rests."""
WINDOW = 15.0
"""Seconds for which the longest lag is shown at least: as long as Prometheus waits between two scrapes by default."""


class Vitals(NamedTuple):
    """What a worker shows.

    :ivar lag: the most seconds that its loop was late in the last 15 to 30, or has stood still by now
    :ivar in_progress: events whose handling has begun and not ended
    :ivar connections: those that are open
    """

    lag: float
    in_progress: int
    connections: int


def read_vitals(shown: memoryview[float], now: float) -> Vitals:
    """Return what a worker shows.

    :param now: on the monotonic clock
    """
    lag = max(shown[LAG], lateness(shown[STAMP] + shown[REST], now))
    return Vitals(lag, int(shown[IN_PROGRESS]), int(shown[CONNECTIONS]))


def lateness(stamp: float, now: float) -> float:
    """Return the seconds by which a loop that beat last at `stamp` is late."""
    return max(0.0, now - stamp - PERIOD)


class Longest:
    """The longest lag of late: in the present window of time, or in the one before it."""

    def __init__(self) -> None:
        self._recent = self._before = 0.0
        self._window_ends = 0.0

    def add(self, lag: float, now: float) -> float:
        """Add a lag, and return the longest; all in seconds.

        :param now: on the monotonic clock
        """
        if now >= self._window_ends:
            self._before, self._recent = self._recent, 0.0
            self._window_ends = now + WINDOW
        self._recent = max(self._recent, lag)
        return max(self._before, self._recent)


class LoopLag:
    """How late the loop of this process comes, which shows it to nobody else.

    :param clock: monotonic, in seconds
    :ivar seconds: the most that it was late in the last 15 to 30 seconds
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._longest = Longest()
        self._stamp = clock()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look."""
        self._loop = loop
        self._stamp = self._clock()
        self._beat()

    def _beat(self) -> None:
        self.look()
        self._loop.call_later(PERIOD, self._beat)

    def look(self) -> None:
        """See how late it is."""
        now = self._clock()
        self.seconds = self._longest.add(lateness(self._stamp, now), now)
        self._stamp = now


class Pulse:
    """Shows that a worker's loop turns, and what it does.

    :param shown: where
    :param max_events: after so many events the worker is due for a successor; None: never
    :param on_due: called once, then, with how many there were
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
        """Begin to beat."""
        self._loop = asyncio.get_running_loop()
        self._shown[STAMP] = self._clock()
        self._beat()

    def _beat(self) -> None:
        self.show()
        if self._is_quiet():
            self._be_stirred_by(self._stir)
            self._timer = call_at_next_tick(self._loop, LONG_PERIOD, self._beat)
            self._shown[REST] = max(0.0, self._timer.when() - self._loop.time() - PERIOD)
        else:
            self._be_stirred_by(None)
            self._shown[REST] = 0.0
            self._timer = self._loop.call_later(PERIOD, self._beat)

    def _be_stirred_by(self, stir: Callable[[], None] | None) -> None:
        loop: Any = self._loop
        self._listener.lifecycle.stir = loop.stir = stir

    def _is_quiet(self) -> bool:
        """Whether no event was in flight for some beats."""
        before, self._dispatched = self._dispatched, self._listener.hooks.dispatched
        is_busy = before != self._dispatched or self._listener.lifecycle.in_progress
        self._quiet = 0 if is_busy else min(self._quiet + 1, QUIET)
        return self._quiet == QUIET

    def _stir(self) -> None:
        """Something comes in: beat now, and often from now on."""
        self._timer.cancel()
        self._quiet = 0
        self._beat()

    def show(self) -> None:
        """Show how things are."""
        now, shown, life = self._clock(), self._shown, self._listener.lifecycle
        shown[LAG] = self._longest.add(lateness(shown[STAMP] + shown[REST], now), now)
        shown[IN_PROGRESS] = life.in_progress
        shown[CONNECTIONS] = life.connections
        shown[STAMP] = now
        dispatched = self._listener.hooks.dispatched
        if self._max_events is not None and dispatched >= self._max_events:
            self._max_events = None
            self._on_due(dispatched)
