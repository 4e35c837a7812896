"""What workers report over their channels, and what follows from each message."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from ..ipc.channel import ChannelClosed, GarbledMessage
from ..ipc.messages import (
    Acquire,
    BootFailed,
    CannotTakeLog,
    CannotTakeOver,
    Due,
    Dumped,
    Ready,
    WantCarrier,
    WorkerDraining,
)
from ..system.logfile import pass_on
from ..worker.stacks import log_stacks
from .deaths import SETTLES
from .handoff import RETRY_TAKEOVER
from .slot import WorkerState, about

if TYPE_CHECKING:
    from ..ipc.messages import FromWorker
    from ..supervisor import Supervisor
    from ..system.logfile import LogFile
    from .slot import Slot, Worker

__all__ = ["Inbox"]

logger = logging.getLogger("tiny_listener.supervisor")


class Inbox:
    """Reads the messages of workers.

    :param supervisor: the supervisor of these workers
    :param log_file: the file that workers log to; None: they log to stderr
    """

    def __init__(self, supervisor: Supervisor, log_file: LogFile | None) -> None:
        self._supervisor = supervisor
        self._log_file = log_file

    def read(self, slot: Slot, worker: Worker) -> None:
        """Read and handle all messages that a worker has sent."""
        supervisor = self._supervisor
        try:
            while (received := worker.channel.receive()) is not None:
                message, fds = received
                for fd in fds:
                    os.close(fd)
                self._handle(slot, worker, message)
        except ChannelClosed:  # it is about to exit; or it has closed its end, and can no longer be told to
            supervisor.loop.remove_reader(worker.channel.fileno())
            supervisor.ender.watch_deaf(slot, worker)
        except GarbledMessage as exc:
            logger.error(
                "Worker %d (pid %d) sent %s: killing it", slot.number, worker.pid, exc, extra=about(slot, worker)
            )
            supervisor.loop.remove_reader(worker.channel.fileno())
            worker.note_kill("line", "sent an invalid message")
            worker.process.kill()

    def read_of_booting(self) -> None:
        """Read what booting workers have sent: one that is ready by now may have events in flight."""
        for slot in self._supervisor.slots:
            for worker in slot.workers():
                if worker.state is WorkerState.STARTING and worker.channel.fileno() >= 0:
                    self.read(slot, worker)

    def _handle(self, slot: Slot, worker: Worker, message: FromWorker) -> None:
        supervisor = self._supervisor
        match message:
            case Acquire():
                supervisor.broker.answer(slot.number, worker.pid, worker.channel, message)
            case Ready():
                self._ready(slot, worker)
            case WorkerDraining():
                worker.drains = True
                self._drains(slot, worker)
            case Due():
                worker.due = f"it has dispatched {message.events} events (--max-requests)"
                supervisor.replacer.replace(slot, worker.due)
            case Dumped():
                log_stacks(slot, worker)
            case CannotTakeOver():
                supervisor.handoff.failed(message.slot, worker)
            case CannotTakeLog():
                if self._log_file is not None:
                    worker.timers.append(supervisor.loop.call_later(RETRY_TAKEOVER, pass_on, self._log_file, worker))
            case WantCarrier():
                supervisor.carrier.want(slot.number, worker, starts=message.starts, lost=message.lost)
            case BootFailed():
                self._boot_failed(worker, message)

    def _ready(self, slot: Slot, worker: Worker) -> None:
        if worker.state is not WorkerState.STARTING or worker.kill_reason is not None:
            return
        supervisor = self._supervisor
        worker.step(WorkerState.READY)
        worker.ready_since = supervisor.loop.time()
        supervisor.broker.ready(worker.pid)
        fields = {**about(slot, worker), "duration": round(worker.ready_since - worker.started, 3)}
        level = logging.INFO if slot.joining else logging.DEBUG
        logger.log(level, "Worker %d (pid %d) is ready", slot.number, worker.pid, extra=fields)
        slot.joining = False
        supervisor.replacer.ready(slot, worker)
        supervisor.rollout.look()
        supervisor.see_whether_all_are_ready()

    def _drains(self, slot: Slot, worker: Worker) -> None:
        """A worker accepts no more connections: its siblings serve its accept queue from now on."""
        supervisor = self._supervisor
        if worker.state is WorkerState.READY:  # it was not told to
            worker.step(WorkerState.DRAINING)
            supervisor.handoff.look()
            supervisor.notifier.status(supervisor.readiness())
            worker.timers.append(supervisor.loop.call_later(SETTLES, supervisor.deaths.left_by_itself, slot, worker))

    def _boot_failed(self, worker: Worker, message: BootFailed) -> None:
        supervisor = self._supervisor
        supervisor.ender.watch_failed(worker)
        if worker.state is WorkerState.DRAINING:  # it is no longer needed
            return
        reloader, version = supervisor.reloader, supervisor.starter.version
        stale = reloader is not None and worker.version < version
        if not supervisor.stopping and not stale and (reloader is None or reloader.is_news(message.text)):
            logger.critical("The application cannot boot", extra={"as_is": message.text, "pid": worker.pid})
        # Where files are watched the next change may fix it; but not a command that names no application.
        if not supervisor.all_were_ready and (reloader is None or (message.exit_code == 1 and version == 0)):
            supervisor.stop(message.exit_code, at_once=True)
