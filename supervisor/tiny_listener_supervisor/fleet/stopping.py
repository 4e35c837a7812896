"""How workers end that need not: they drain, for as long as they may, or they are killed.

A worker that boots has no event in flight: it gets TERM, and is killed a moment later if its application goes on.
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
from .slot import State, about

if TYPE_CHECKING:
    from .slot import Slot, Worker

__all__ = ["KILL_GRACE", "Ender"]

logger = logging.getLogger("tiny_listener.supervisor")

KILL_GRACE = 1.0
"""Seconds on top of the graceful timeout, in which a worker cancels and reports what was left."""
BOOT_GRACE = 0.5
"""Seconds from TERM to KILL for a worker that boots: more than it needs to end, `last_resort.AT_ONCE`."""


class Ender:
    """Ends workers.

    :param graceful_timeout: seconds that what they have in flight may take
    """

    def __init__(self, slots: Sequence[Slot], graceful_timeout: float) -> None:
        self._slots = slots
        self.limit = graceful_timeout + KILL_GRACE
        """Seconds until a worker that drains is killed."""

    def drain(self, slot: Slot, worker: Worker) -> None:
        """Let a worker finish what it has in flight and exit."""
        if worker.state not in (State.STARTING, State.READY):
            return
        booting = worker.state is State.STARTING
        worker.step(State.DRAINING)
        if booting:  # it may not hear the channel yet
            worker.process.terminate()
            worker.timers.append(asyncio.get_running_loop().call_later(BOOT_GRACE, worker.process.kill))
            return
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            worker.channel.send(Stop())
        worker.timers.append(asyncio.get_running_loop().call_later(self.limit - DUMP_TIME, self._show, slot, worker))

    @staticmethod
    def _show(slot: Slot, worker: Worker) -> None:
        """Show the stacks of a worker that is about to be killed, unless it heard of its end and says what is left."""
        if not worker.drains:
            ask_for_stacks(slot, worker)

    def end_boots(self) -> None:
        """End the workers that boot."""
        for slot in self._slots:
            for worker in slot.workers():
                if worker.state is State.STARTING:
                    self.drain(slot, worker)

    def drain_all(self) -> None:
        """Let every worker drain."""
        for slot in self._slots:
            for worker in slot.workers():
                self.drain(slot, worker)

    def let_go(self, slot: Slot, worker: Worker) -> None:
        """Let a worker drain that others go on without, and kill it when it takes too long."""
        self.drain(slot, worker)
        worker.timers.append(asyncio.get_running_loop().call_later(self.limit, self._kill_late, slot, worker))

    def _kill_late(self, slot: Slot, worker: Worker) -> None:
        if worker.state is State.DRAINING:
            logger.warning(
                "Worker %d (pid %d) does not end: it is killed", slot.number, worker.pid, extra=about(slot, worker)
            )
            worker.process.kill()

    def watch_boot(self, slot: Slot, worker: Worker, limit: float) -> None:
        """Kill a worker that is not ready after `limit` seconds, when it has shown where it is."""
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
            ask_for_stacks(slot, worker)
            worker.timers.append(asyncio.get_running_loop().call_later(DUMP_TIME, worker.process.kill))

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

    def watch_failed(self, worker: Worker) -> None:
        """A worker's application cannot boot: it ends, or else its threads keep it and it is killed."""
        worker.timers.append(asyncio.get_running_loop().call_later(KILL_GRACE, worker.process.kill))

    def kill_all(self, *, silent: bool) -> None:
        """Kill every worker; one that was to drain is named, unless `silent`."""
        for slot in self._slots:
            for worker in slot.workers():
                if worker.state is State.DRAINING and not silent:
                    logger.warning("Worker %d (pid %d) is killed", slot.number, worker.pid, extra=about(slot, worker))
                worker.process.kill()
