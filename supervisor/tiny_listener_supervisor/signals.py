"""Signals to the supervisor. Handlers only queue them; the event loop handles them one after the other."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

from .fleet.scaling import in_use
from .policy import workers_in_words
from .system.logfile import reopen

if TYPE_CHECKING:
    from .supervisor import Supervisor
    from .system.logfile import LogFile

__all__ = ["HANDLED", "Signals"]

logger = logging.getLogger("tiny_listener.supervisor")

HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


class Signals:
    """Queue of signals that were received and not handled yet; see docs/operate/signals.md.

    :param log_file: the file that USR1 reopens
    """

    def __init__(self, supervisor: Supervisor, log_file: LogFile | None) -> None:
        self._supervisor = supervisor
        self._log_file = log_file
        self._waiting: asyncio.Queue[int] = asyncio.Queue()

    def start(self) -> None:
        """Start receiving signals in the running loop."""
        loop = asyncio.get_running_loop()
        for sig in HANDLED:
            loop.add_signal_handler(sig, self._waiting.put_nowait, sig)
        self._handling = asyncio.ensure_future(self._handle_all())

    def stop(self) -> None:
        """Stop handling signals."""
        self._handling.cancel()

    async def _handle_all(self) -> None:
        while True:
            self._handle(signal.Signals(await self._waiting.get()))

    def _handle(self, sig: signal.Signals) -> None:
        supervisor = self._supervisor
        count = len(in_use(supervisor.slots))
        if sig == signal.SIGCHLD:
            supervisor.deaths.reap()
        elif sig == signal.SIGHUP:
            supervisor.reload()
        elif sig in (signal.SIGTTIN, signal.SIGTTOU):
            supervisor.scale(count + (1 if sig == signal.SIGTTIN else -1), sig.name)
        elif sig == signal.SIGUSR1:
            reopen(self._log_file, [worker for slot in supervisor.slots for worker in slot.workers()])
            if self._log_file is not None:
                supervisor.carrier.pass_on(self._log_file)
        elif sig == signal.SIGUSR2:
            supervisor.dump()
        elif sig == signal.SIGQUIT or supervisor.stopping:
            logger.warning("%s: killing all workers", sig.name)
            supervisor.stop(at_once=True)
        else:
            logger.info("%s: draining %s", sig.name, workers_in_words(count))
            supervisor.stop()
