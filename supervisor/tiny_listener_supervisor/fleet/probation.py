"""Probation: new code has to live for a while, with its event loop turning, before an old worker gives way to it.

Code that boots may still end a moment later: by a task of its startup, by the first request, by its first use of a
database. So a successor that is ready serves beside the worker that it is to replace, on the same socket, and takes
the slot over only when it has lived through its probation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..worker.heartbeat import REST, STAMP
from .slot import State

if TYPE_CHECKING:
    from .slot import Slot, Worker

__all__ = ["HANGS", "Probation", "hang_limit", "time_left"]

HANGS = 5.0
"""Seconds that the loop of a worker on probation may stand still at most, or as long as the probation, if that is
longer: a module that is imported with the first request need not fail a reload, and a hang need not wait for
`--hang-timeout`."""
STEADY = 0.5
"""Seconds without a heartbeat, of which a loop makes ten a second: who is as late as that has not passed yet."""
LOOK_AGAIN = 0.1
"""Seconds between two looks at a worker that has lived for long enough, and does not turn its loop."""


def time_left(length: float, ready_since: float, stamp: float, now: float) -> float:
    """Return the seconds until a worker on probation is to be looked at again; 0: it has passed.

    :param length: seconds that it has to live once it is ready
    :param ready_since: when it was ready, on the monotonic clock, as are `stamp` and `now`
    :param stamp: its last heartbeat, or the end of the rest that it announced then
    """
    left = ready_since + length - now
    if left > 0:
        return left
    beats = stamp > ready_since and now - stamp <= STEADY
    return 0.0 if beats else LOOK_AGAIN


def hang_limit(length: float, hang_timeout: float) -> float:
    """Return the seconds that the loop of a worker on probation may stand still.

    :param length: of the probation, in seconds
    :param hang_timeout: the same for any other worker; 0 for any time
    """
    longest = max(HANGS, length)
    return min(longest, hang_timeout) if hang_timeout > 0 else longest


class Probation:
    """Looks after workers that are on probation, until they pass; what else becomes of one is seen where it ends.

    :param length: seconds; 0: there is none
    :param passed: called with one that has passed, and its slot
    :param clock: that of `Worker.ready_since` and of the workers' stamps
    """

    def __init__(
        self, length: float, passed: Callable[[Slot, Worker], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.length = length
        self._passed = passed
        self._clock = clock

    def begin(self, slot: Slot, worker: Worker) -> None:
        """A worker is ready, and on probation from now on."""
        worker.on_probation = True
        self._look(slot, worker)

    def _look(self, slot: Slot, worker: Worker) -> None:
        if worker.state is not State.READY or worker.fate is not None:
            return
        left = time_left(self.length, worker.ready_since, worker.shown[STAMP] + worker.shown[REST], self._clock())
        if left > 0:
            worker.timers.append(asyncio.get_running_loop().call_later(left, self._look, slot, worker))
        else:
            worker.on_probation = False
            self._passed(slot, worker)
