"""Probation: a worker with new code must run for a while, without blocking, before it replaces an old worker.

Code that boots may still fail a moment later: in a task that startup began, on the first request, or on the first use
of a database. So a ready successor serves alongside the worker that it is to replace, on the same socket. It takes the
slot over only after it has passed its probation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..worker.heartbeat import REST, STAMP
from .slot import WorkerState

if TYPE_CHECKING:
    from .slot import Slot, Worker

__all__ = ["HANGS", "Probation", "hang_limit", "time_left"]

HANGS = 5.0
"""Seconds that the loop of a worker on probation may be blocked; the length of the probation if that is longer. A
module that is imported on the first request must not fail a reload, and a hang need not wait for `--hang-timeout`."""
STEADY = 0.5
"""Seconds without a heartbeat after which a worker has not passed yet. A loop sends ten heartbeats a second."""
LOOK_AGAIN = 0.1
"""Seconds between two checks of a worker whose probation is over but whose loop is blocked."""


def time_left(length: float, ready_since: float, stamp: float, now: float) -> float:
    """Return the seconds until a worker on probation is checked again; 0: it has passed.

    :param length: seconds that it must run once it is ready
    :param ready_since: when it became ready; on the monotonic clock, as are `stamp` and `now`
    :param stamp: its last heartbeat, or the end of the rest that it announced with it
    """
    left = ready_since + length - now
    if left > 0:
        return left
    beats = stamp > ready_since and now - stamp <= STEADY
    return 0.0 if beats else LOOK_AGAIN


def hang_limit(length: float, hang_timeout: float) -> float:
    """Return the seconds that the loop of a worker on probation may be blocked.

    :param length: of the probation, in seconds
    :param hang_timeout: the limit for all other workers; 0: no limit
    """
    longest = max(HANGS, length)
    return min(longest, hang_timeout) if hang_timeout > 0 else longest


class Probation:
    """Watches workers on probation until they pass. Failures are handled where the worker's end is handled.

    :param length: seconds; 0: no probation
    :param passed: called with a worker that passed, and its slot
    :param clock: the clock of `Worker.ready_since` and of the heartbeats
    """

    def __init__(
        self, length: float, passed: Callable[[Slot, Worker], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.length = length
        self._passed = passed
        self._clock = clock

    def begin(self, slot: Slot, worker: Worker) -> None:
        """Start the probation of a worker that is ready."""
        worker.on_probation = True
        self._look(slot, worker)

    def _look(self, slot: Slot, worker: Worker) -> None:
        if worker.state is not WorkerState.READY or worker.kill_reason is not None:
            return
        left = time_left(self.length, worker.ready_since, worker.shown[STAMP] + worker.shown[REST], self._clock())
        if left > 0:
            worker.timers.append(asyncio.get_running_loop().call_later(left, self._look, slot, worker))
        else:
            worker.on_probation = False
            self._passed(slot, worker)
