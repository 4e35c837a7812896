"""Decisions about workers that died, hang or are due for replacement. Pure functions; the clock is an argument."""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass

__all__ = [
    "RESTART_REASONS",
    "Limits",
    "RestartBudget",
    "describe_exit",
    "is_hung",
    "readiness_in_words",
    "reason_to_recycle",
    "restart_delay",
    "workers_in_words",
]

RESTART_REASONS = ("exit", "signal", "hang", "boot_timeout", "line", "recycle", "reload")
"""Why a worker replaced another. The old one exited; was killed by a signal; was killed by the supervisor because it
hung, missed the boot timeout or broke the channel; was due for recycling; or had old code."""
LIVED_LONG = 10.0
"""Seconds. A worker that lived at least this long does not count as a failure of its slot when it dies."""
FIRST_DELAY = 0.1
MAX_DELAY = 30.0
MAX_DELAY_ALONE = 1.0
"""Seconds. The limit when no other worker serves: clients are waiting for the next one."""
JITTER = 0.25
"""The fraction of a delay that may be subtracted at random, so that workers that died together restart one by one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits after which a healthy worker is replaced; None: no limit.

    :param max_requests: number of events dispatched
    :param jitter: at random, up to this many more events, so that workers are not all due at once
    :param max_lifetime: seconds
    :param max_rss: MiB of resident memory
    """

    max_requests: int | None = None
    jitter: int = 0
    max_lifetime: float | None = None
    max_rss: int | None = None

    def draw_max_requests(self, chance: float) -> int | None:
        """Return the event limit for one worker, including its share of the jitter.

        :param chance: a random number, 0 <= chance < 1
        """
        return None if self.max_requests is None else self.max_requests + int(chance * (self.jitter + 1))


class RestartBudget:
    """The number of workers that may end unexpectedly within a time window.

    :param limit: that number; None: no limit
    :param window: seconds
    """

    def __init__(self, limit: int | None, window: float) -> None:
        self.limit = limit
        self.window = window
        self._ends: deque[float] = deque()

    @property
    def spent(self) -> int:
        """The number of workers that ended within the window before the last one."""
        return len(self._ends)

    def spend(self, now: float) -> bool:
        """Count one worker that ended. Return whether the budget is exceeded."""
        if self.limit is None:
            return False
        while self._ends and now - self._ends[0] >= self.window:
            self._ends.popleft()
        self._ends.append(now)
        return len(self._ends) > self.limit


def restart_delay(failures: int, lived: float, chance: float, longest: float = MAX_DELAY) -> tuple[int, float]:
    """Decide when to replace a dead worker.

    :param failures: number of workers in a row, before this one, that died young
    :param lived: seconds that this worker lived
    :param chance: a random number from 0 to 1; the higher, the shorter the delay
    :param longest: the maximum delay in seconds
    :returns: the failures to remember, and the delay in seconds: 0 after the first failure, then doubled each time
    """
    if lived >= LIVED_LONG:
        return 0, 0.0
    delay = min(longest, FIRST_DELAY * 2 ** (failures - 1)) if failures else 0.0
    return failures + 1, delay * (1 - JITTER * chance)


def reason_to_recycle(limits: Limits, lived: float, rss: int) -> str | None:
    """Return why a worker is due for replacement, or None.

    :param lived: seconds
    :param rss: bytes
    """
    if limits.max_lifetime is not None and lived > limits.max_lifetime:
        return f"it has lived for {limits.max_lifetime:g} s (--max-lifetime)"
    if limits.max_rss is not None and rss > limits.max_rss * 2**20:
        return f"it uses {rss / 2**20:.0f} MiB of memory (--max-rss {limits.max_rss})"
    return None


GRACE = 0.2
"""Seconds that a heartbeat may be later than announced: two regular periods."""


def is_hung(  # noqa: PLR0917
    stamp: float, now: float, awake_since: float, limit: float, late: float = 0.0, rest: float = 0.0
) -> bool:
    """Decide whether a worker's event loop has been blocked for too long.

    :param stamp: time of its last heartbeat, on the monotonic clock
    :param awake_since: since when the supervisor itself has checked without a gap. If the machine or the supervisor was
        suspended, the worker has not had its time yet
    :param limit: seconds; 0: no limit
    :param late: seconds by which this check itself is late: the worker may have been starved for as long
    :param rest: seconds that the worker announced it would go without a heartbeat; a shorter limit is extended to that
    """
    return limit > 0 and now - late - max(stamp, awake_since) > max(limit, rest and rest + GRACE)


def describe_exit(code: int) -> str:
    """Describe how a process ended.

    :param code: its exit code, or the negated number of the signal that killed it
    """
    if code == 0:
        return "exited"
    if code > 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = {"SIGKILL": " (by hand, or out of memory?)", "SIGSEGV": " (a fault in native code)"}.get(name, "")
    return f"killed by {name}{hint}"


def readiness_in_words(ready: int, count: int) -> str:
    """Return "2 workers are ready", or "1 of 2 workers is ready"."""
    of = f"{ready} of " if ready < count else ""
    return f"{of}{workers_in_words(count)} {'is' if ready == 1 else 'are'} ready"


def workers_in_words(count: int) -> str:
    """Return "1 worker" or "2 workers"."""
    return f"{count} worker{'s' if count != 1 else ''}"
