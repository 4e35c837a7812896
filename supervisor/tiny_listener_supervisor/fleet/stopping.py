"""Ends workers: they drain until a timeout, and are killed after it.

A booting worker has no event in flight. It gets TERM, and is killed shortly after if it does not exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..ipc.channel import ChannelClosed
from ..ipc.messages import Stop
from ..worker.stacks import DUMP_TIME, ask_for_stacks
from .slot import WorkerState, about

if TYPE_CHECKING:
    from .slot import Slot, Worker

__all__ = ["KILL_GRACE", "Ender"]

logger = logging.getLogger("tiny_listener.supervisor")

KILL_GRACE = 1.0
"""Seconds on top of the graceful timeout, in which a worker cancels what is left and logs it."""
BOOT_GRACE = 0.5
"""Seconds from TERM to KILL for a booting worker. This is more than it needs to exit, `last_resort.AT_ONCE`."""


class Ender:
    """Ends workers.

    :param graceful_timeout: seconds that events in flight may take
    """

    def __init__(self, slots: Sequence[Slot], graceful_timeout: float) -> None:
        self._slots = slots
        self.limit = graceful_timeout + KILL_GRACE
        """Seconds until a draining worker is killed."""

    def drain(self, slot: Slot, worker: Worker) -> None:
        """Let a worker finish what is in flight and exit."""
        if worker.state not in (WorkerState.STARTING, WorkerState.READY):
            return
        booting = worker.state is WorkerState.STARTING
        worker.step(WorkerState.DRAINING)
        if booting:  # it may not hear the channel yet
            worker.process.terminate()
            worker.timers.append(asyncio.get_running_loop().call_later(BOOT_GRACE, worker.process.kill))
            return
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            worker.channel.send(Stop())
        worker.timers.append(asyncio.get_running_loop().call_later(self.limit - DUMP_TIME, self._show, slot, worker))

    @staticmethod
    def _show(slot: Slot, worker: Worker) -> None:
        """Log the stacks of a worker that is about to be killed, unless it reported that it drains: then it logs what
        is left.
        """
        if not worker.drains:
            ask_for_stacks(slot, worker)

    def end_boots(self) -> None:
        """End all booting workers."""
        for slot in self._slots:
            for worker in slot.workers():
                if worker.state is WorkerState.STARTING:
                    self.drain(slot, worker)

    def drain_all(self) -> None:
        """Let every worker drain."""
        for slot in self._slots:
            for worker in slot.workers():
                self.drain(slot, worker)

    def drain_or_kill(self, slot: Slot, worker: Worker) -> None:
        """Drain a worker that is no longer needed, and kill it when it exceeds the timeout."""
        self.drain(slot, worker)
        worker.timers.append(asyncio.get_running_loop().call_later(self.limit, self._kill_late, slot, worker))

    def _kill_late(self, slot: Slot, worker: Worker) -> None:
        if worker.state is WorkerState.DRAINING:
            logger.warning(
                "Worker %d (pid %d) did not exit in time: killing it",
                slot.number, worker.pid, extra=about(slot, worker),
            )  # fmt: skip
            worker.process.kill()

    def watch_boot(self, slot: Slot, worker: Worker, limit: float) -> None:
        """Kill a worker that is not ready after `limit` seconds; log its stacks first."""
        worker.timers.append(asyncio.get_running_loop().call_later(limit, self._kill_unready, slot, worker, limit))

    @staticmethod
    def _kill_unready(slot: Slot, worker: Worker, limit: float) -> None:
        if worker.state is WorkerState.STARTING:
            logger.error(
                "Worker %d (pid %d) is not ready after %g s (--boot-timeout): killing it",
                slot.number, worker.pid, limit,
                extra={**about(slot, worker), "reason": "boot timeout", "duration": limit},
            )  # fmt: skip
            worker.note_kill("boot_timeout", f"was killed after {limit:g} s (--boot-timeout)")
            ask_for_stacks(slot, worker)
            worker.timers.append(asyncio.get_running_loop().call_later(DUMP_TIME, worker.process.kill))

    def watch_deaf(self, slot: Slot, worker: Worker) -> None:
        """A worker's channel is closed. It is about to exit; otherwise it can no longer be reached and is killed."""
        worker.timers.append(asyncio.get_running_loop().call_later(KILL_GRACE, self._kill_deaf, slot, worker))

    @staticmethod
    def _kill_deaf(slot: Slot, worker: Worker) -> None:
        if worker.state in (WorkerState.STARTING, WorkerState.READY):
            logger.error(
                "Worker %d (pid %d) closed its channel to the supervisor: killing it", slot.number, worker.pid,
                extra=about(slot, worker),
            )  # fmt: skip
            worker.note_kill("line", "closed its channel to the supervisor")
            worker.process.kill()

    def watch_failed(self, worker: Worker) -> None:
        """A worker's application failed to boot. It exits; if threads keep it alive, it is killed."""
        worker.timers.append(asyncio.get_running_loop().call_later(KILL_GRACE, worker.process.kill))

    def kill_all(self, *, silent: bool) -> None:
        """Kill every worker. Name those that still drain in the log, unless `silent`."""
        for slot in self._slots:
            for worker in slot.workers():
                if worker.state is WorkerState.DRAINING and not silent:
                    words = "Worker %d (pid %d) has not finished draining: killing it"
                    logger.warning(words, slot.number, worker.pid, extra=about(slot, worker))
                worker.process.kill()
