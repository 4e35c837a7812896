"""Starts workers: into empty slots at once or later, and as successors next to the workers that they are to replace."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..supervisor import Supervisor
    from .forking import Forker
    from .slot import Slot, Worker

__all__ = ["Starter"]

logger = logging.getLogger("tiny_listener.supervisor")


class Starter:
    """Forks workers and listens to what they report.

    :param supervisor: the supervisor of these workers
    :param forker: does the fork
    :ivar version: number of reloads requested so far; workers that are forked now have it
    :ivar stopped: whether no worker is started any more
    """

    def __init__(self, supervisor: Supervisor, forker: Forker) -> None:
        self._supervisor = supervisor
        self._forker = forker
        self.version = 0
        self.stopped = False

    def start(self, slot: Slot) -> None:
        """Fork a worker into an empty slot. When the system is out of processes or memory, try again later."""
        supervisor = self._supervisor
        try:
            self.start_now(slot)
        except OSError as exc:
            words = f"cannot be forked: {exc.strerror or exc}"
            if supervisor.all_were_ready or supervisor.reloader is not None:
                self.start_later(slot, supervisor.restarts.after_no_fork(slot, words))
            else:
                text = f"Error: worker {slot.number} {words}\n"
                logger.critical("A worker cannot be forked", extra={"as_is": text, "slot": slot.number})
                supervisor.stop(1, at_once=True)

    def start_now(self, slot: Slot) -> None:
        """Fork a worker into an empty slot.

        :raises OSError: EAGAIN of fork(2), EMFILE, ENOMEM
        """
        if not self.stopped and slot.is_empty:
            slot.worker = self.fork(slot)

    def start_later(self, slot: Slot, delay: float) -> None:
        """Fork a worker into an empty slot after a delay in seconds, unless a reload does so earlier."""
        if slot.restart is not None:  # of an earlier worker, which a reload has replaced since
            slot.restart.cancel()
        slot.restart = self._supervisor.loop.call_later(delay, self.start, slot)

    def fork(self, slot: Slot) -> Worker:
        """Fork a worker for a slot, and return it. The caller puts it in its place.

        :raises OSError: see `start_now`
        """
        supervisor = self._supervisor
        max_events = supervisor.settings.limits.draw_max_requests(random.random())  # noqa: S311 - no secret
        worker = self._forker.fork(slot.number, max_events, supervisor.loop.time(), self.version)
        supervisor.loop.add_reader(worker.channel.fileno(), supervisor.inbox.read, slot, worker)
        supervisor.ender.watch_boot(slot, worker, supervisor.settings.boot_timeout)
        return worker
