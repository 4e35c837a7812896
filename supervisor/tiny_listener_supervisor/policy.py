"""What to do about workers that died, hang, or are due: pure decisions, with the clock passed in."""

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
"""Why a worker takes the place of another: that exited, or was killed by a signal; was killed by the supervisor, for
it hung, was not ready in time, or broke its line; was due; or had old code."""
LIVED_LONG = 10.0
"""Seconds after which a worker's death does not count against its slot any more."""
FIRST_DELAY = 0.1
MAX_DELAY = 30.0
MAX_DELAY_ALONE = 1.0
"""Seconds, the same for a worker that served when no other did: clients wait for the next one."""
JITTER = 0.25
"""The part of a delay that chance may take away: workers that died together come back one by one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a worker is replaced though it works; None: never.

    :param max_requests: events that it dispatched
    :param jitter: at random up to so many more, that not all are due at once
    :param max_lifetime: seconds
    :param max_rss: MiB of resident memory
    """

    max_requests: int | None = None
    jitter: int = 0
    max_lifetime: float | None = None
    max_rss: int | None = None

    def draw_max_requests(self, chance: float) -> int | None:
        """Return the limit of events for one worker, with its share of the jitter.

        :param chance: at random, at least 0 and less than 1
        """
        return None if self.max_requests is None else self.max_requests + int(chance * (self.jitter + 1))


class RestartBudget:
    """How many workers may end unplanned within a time.

    :param limit: so many; None for any number
    :param window: seconds
    """

    def __init__(self, limit: int | None, window: float) -> None:
        self.limit = limit
        self.window = window
        self._ends: deque[float] = deque()

    @property
    def spent(self) -> int:
        """How many have ended within the window before the last one."""
        return len(self._ends)

    def spend(self, now: float) -> bool:
        """Count one that has ended, and return whether that is one too many."""
        if self.limit is None:
            return False
        while self._ends and now - self._ends[0] >= self.window:
            self._ends.popleft()
        self._ends.append(now)
        return len(self._ends) > self.limit


def restart_delay(failures: int, lived: float, chance: float, longest: float = MAX_DELAY) -> tuple[int, float]:
    """Decide when a dead worker is replaced.

    :param failures: workers in a row, before this one, that had died young
    :param lived: seconds that this one had lived
    :param chance: at random from 0 to 1; the more, the sooner
    :param longest: seconds that are never exceeded
    :returns: the failures to remember, and the seconds to wait: none for the first, then twice as long each time
    """
    if lived >= LIVED_LONG:
        return 0, 0.0
    delay = min(longest, FIRST_DELAY * 2 ** (failures - 1)) if failures else 0.0
    return failures + 1, delay * (1 - JITTER * chance)


def reason_to_recycle(limits: Limits, lived: float, rss: int) -> str | None:
    """Say why a worker is due for a successor, or None.

    :param lived: seconds
    :param rss: bytes
    """
    if limits.max_lifetime is not None and lived > limits.max_lifetime:
        return f"it has lived for {limits.max_lifetime:g} s (--max-lifetime)"
    if limits.max_rss is not None and rss > limits.max_rss * 2**20:
        return f"it takes {rss / 2**20:.0f} MiB of memory (--max-rss {limits.max_rss})"
    return None


GRACE = 0.2
"""Seconds by which a stamp may be late that was said to come at an instant: two of the usual periods."""


def is_hung(  # noqa: PLR0917
    stamp: float, now: float, awake_since: float, limit: float, late: float = 0.0, rest: float = 0.0
) -> bool:
    """Decide whether a worker's loop has stood still for too long.

    :param stamp: when it last stamped, on the monotonic clock
    :param awake_since: since when the supervisor itself has looked without a gap: if the machine, or it, stood
        still, a worker has not had its time yet
    :param limit: seconds; 0 for none
    :param late: seconds by which this look itself is late: for so long the worker may have had no time either
    :param rest: seconds that it may go without a stamp, as it said; a shorter limit waits for the end of that
    """
    return limit > 0 and now - late - max(stamp, awake_since) > max(limit, rest and rest + GRACE)


def describe_exit(code: int) -> str:
    """Say in words how a process ended.

    :param code: its exit code, or minus the number of the signal that killed it
    """
    if code == 0:
        return "exited"
    if code > 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = {"SIGKILL": ": by hand, or out of memory?", "SIGSEGV": ": a fault in native code"}.get(name, "")
    return f"killed by {name}{hint}"


def readiness_in_words(ready: int, count: int) -> str:
    """Return "2 workers are ready", or "1 of 2 workers is ready"."""
    of = f"{ready} of " if ready < count else ""
    return f"{of}{workers_in_words(count)} {'is' if ready == 1 else 'are'} ready"


def workers_in_words(count: int) -> str:
    """Return "1 worker" or "2 workers"."""
    return f"{count} worker{'s' if count != 1 else ''}"
