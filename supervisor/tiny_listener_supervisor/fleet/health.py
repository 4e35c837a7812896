"""Checks the workers twice a second: whether their loops are blocked, and whether they are too old or too large."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..policy import is_hung, reason_to_recycle
from ..system.proc import resident_bytes
from ..worker.heartbeat import REST, STAMP
from ..worker.stacks import DUMP_TIME, ask_for_stacks
from .probation import HANGS
from .slot import Slot, Worker, WorkerState, about

if TYPE_CHECKING:
    import asyncio

    from ..policy import Limits

__all__ = ["Health"]

logger = logging.getLogger("tiny_listener.supervisor")

TICK = 0.5
"""Seconds between two checks."""
STALE = 2.0
"""Seconds without a heartbeat after which a worker does not count as serving, for the watchdog."""
CORE_TIME = 1.0
"""Seconds after SIGABRT in which a worker can write a core file (core(5)), if the system keeps core files."""


class Health:
    """Kills workers that hang, and reports those that are due for replacement.

    :param limits: when a worker is due
    :param hang_timeout: seconds that a worker's loop may be blocked; 0: no limit
    :param hang_on_probation: the same for a worker on probation
    :param replace: called with the slot of a worker that is due, and the reason
    :param check_carrier: called at each check with the arguments `now`, `awake_since` and `late` of `policy.is_hung`
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        limits: Limits,
        hang_timeout: float,
        replace: Callable[[Slot, str], None],
        hang_on_probation: float = HANGS,
        *,
        check_carrier: Callable[[float, float, float], None] = lambda *_: None,
    ) -> None:
        self._slots = slots
        self._limits = limits
        self._hang_timeout = hang_timeout
        self._hang_on_probation = hang_on_probation
        self._replace = replace
        self._check_carrier = check_carrier

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start checking."""
        self._loop = loop
        self._awake_since = self._last_tick = time.monotonic()
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        late = max(0.0, now - self._last_tick - TICK)
        if late > 3 * TICK:
            self._awake_since = now  # this process was suspended, and maybe the workers too
        self._last_tick = now
        for slot in self._slots:
            for worker in (slot.worker, slot.successor):
                if worker is None or worker.state is not WorkerState.READY or worker.kill_reason is not None:
                    continue
                limit = self._hang_on_probation if worker.on_probation else self._hang_timeout
                if is_hung(worker.shown[STAMP], now, self._awake_since, limit, late, worker.shown[REST]):
                    self._end_hung(slot, worker, limit)
                elif worker is slot.worker:
                    self._check_age(slot, worker)
        self._check_carrier(now, self._awake_since, late)
        self._loop.call_later(TICK, self._tick)

    def any_serves(self) -> bool:
        """Whether any ready worker's loop ran recently. It also serves the queues of workers that hang."""
        now = time.monotonic()
        workers = [slot.worker for slot in self._slots if slot.worker is not None and slot.is_ready]
        kept = [worker for worker in workers if worker.kill_reason is None]  # not about to be killed
        return any(not is_hung(w.shown[STAMP], now, self._awake_since, STALE, rest=w.shown[REST]) for w in kept)

    def _check_age(self, slot: Slot, worker: Worker) -> None:
        now = self._loop.time()
        if now < slot.not_before:
            return
        rss = resident_bytes(worker.pid) if self._limits.max_rss is not None else 0
        reason = worker.due or reason_to_recycle(self._limits, now - worker.started, rss)
        if reason is not None:
            self._replace(slot, reason)

    def _end_hung(self, slot: Slot, worker: Worker, limit: float) -> None:
        which = "on probation" if limit != self._hang_timeout else "--hang-timeout"
        logger.error(
            "Worker %d (pid %d): its event loop has been blocked for %g s (%s): killing it",
            slot.number, worker.pid, limit, which, extra={**about(slot, worker), "reason": "hang", "duration": limit},
        )  # fmt: skip
        worker.note_kill("hang", f"hung for {limit:g} s")
        ask_for_stacks(slot, worker)
        worker.timers += (
            self._loop.call_later(DUMP_TIME, os.kill, worker.pid, signal.SIGABRT),
            self._loop.call_later(DUMP_TIME + CORE_TIME, worker.process.kill),
        )
