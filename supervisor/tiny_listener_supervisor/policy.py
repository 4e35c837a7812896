"""What to do about a worker that died: pure decisions, with the clock passed in."""

from __future__ import annotations

import signal

__all__ = ["describe_exit", "restart_delay"]

LIVED_LONG = 10.0
"""Seconds after which a worker's death does not count against its slot any more."""
FIRST_DELAY = 0.1
MAX_DELAY = 30.0


def restart_delay(failures: int, lived: float) -> tuple[int, float]:
    """Decide when a dead worker is replaced.

    :param failures: workers in a row, before this one, that had died young
    :param lived: seconds that this one had lived
    :returns: the failures to remember, and the seconds to wait: none for the first, then twice as long each time
    """
    if lived >= LIVED_LONG:
        return 0, 0.0
    delay = min(MAX_DELAY, FIRST_DELAY * 2 ** (failures - 1)) if failures else 0.0
    return failures + 1, delay


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
