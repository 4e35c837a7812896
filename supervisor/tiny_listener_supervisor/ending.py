"""How workers end that need not: they drain, for as long as they may, or they are killed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .channel import ChannelClosed
from .messages import Stop
from .slot import State, about

if TYPE_CHECKING:
    from .slot import Slot, Worker

__all__ = ["KILL_GRACE", "Ender"]

logger = logging.getLogger("tiny_listener.supervisor")

KILL_GRACE = 1.0
"""Seconds on top of the graceful timeout, in which a worker cancels and reports what was left."""


class Ender:
    """Ends workers.

    :param graceful_timeout: seconds that what they have in hand may take
    """

    def __init__(self, slots: Sequence[Slot], graceful_timeout: float) -> None:
        self._slots = slots
        self.limit = graceful_timeout + KILL_GRACE
        """Seconds until a worker that drains is killed."""

    def drain(self, worker: Worker) -> None:
        """Let a worker finish what it has in hand and exit."""
        if worker.state not in (State.STARTING, State.READY):
            return
        booting = worker.state is State.STARTING
        worker.step(State.DRAINING)
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            worker.channel.send(Stop())
        if booting:  # it may not hear the channel yet; the signal's default action ends it
            worker.process.terminate()

    def drain_all(self) -> None:
        """Let every worker drain."""
        for slot in self._slots:
            for worker in slot.workers():
                self.drain(worker)

    def let_go(self, slot: Slot, worker: Worker) -> None:
        """Let a worker drain that others go on without, and kill it when it takes too long."""
        self.drain(worker)
        worker.timers.append(asyncio.get_running_loop().call_later(self.limit, self._kill_late, slot, worker))

    def _kill_late(self, slot: Slot, worker: Worker) -> None:
        if worker.state is State.DRAINING:
            logger.warning(
                "Worker %d (pid %d) does not end: it is killed", slot.number, worker.pid, extra=about(slot, worker)
            )
            worker.process.kill()

    def watch_boot(self, slot: Slot, worker: Worker, limit: float) -> None:
        """Kill a worker that is not ready after `limit` seconds."""
        worker.timers.append(asyncio.get_running_loop().call_later(limit, self._kill_unready, slot, worker, limit))

    @staticmethod
    def _kill_unready(slot: Slot, worker: Worker, limit: float) -> None:
        if worker.state is State.STARTING:
            logger.error(
                "Worker %d (pid %d) is not ready after %g s (--boot-timeout): it is killed",
                slot.number, worker.pid, limit,
                extra={**about(slot, worker), "reason": "boot timeout", "duration": limit},
            )  # fmt: skip
            worker.doom("boot_timeout", f"was killed after {limit:g} s (--boot-timeout)")
            worker.process.kill()

    def watch_deaf(self, slot: Slot, worker: Worker) -> None:
        """A worker's line is closed: it is about to end, or else it hears nobody any more and is killed."""
        worker.timers.append(asyncio.get_running_loop().call_later(KILL_GRACE, self._kill_deaf, slot, worker))

    @staticmethod
    def _kill_deaf(slot: Slot, worker: Worker) -> None:
        if worker.state in (State.STARTING, State.READY):
            logger.error(
                "Worker %d (pid %d) has closed its line to the supervisor: killed", slot.number, worker.pid,
                extra=about(slot, worker),
            )  # fmt: skip
            worker.doom("line", "closed its line to the supervisor")
            worker.process.kill()

    def kill_all(self, *, silent: bool) -> None:
        """Kill every worker; one that was to drain is named, unless `silent`."""
        for slot in self._slots:
            for worker in slot.workers():
                if worker.state is State.DRAINING and not silent:
                    logger.warning("Worker %d (pid %d) is killed", slot.number, worker.pid, extra=about(slot, worker))
                worker.process.kill()
