"""What signals tell the supervisor: they only wait in a queue, and one after the other is obeyed by the loop."""

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
    """The signals that came and are not obeyed yet; see docs/operate/signals.md.

    :param log_file: what USR1 reopens
    """

    def __init__(self, supervisor: Supervisor, log_file: LogFile | None) -> None:
        self._supervisor = supervisor
        self._log_file = log_file
        self._waiting: asyncio.Queue[int] = asyncio.Queue()

    def start(self) -> None:
        """Take signals in from now on, in the loop that runs."""
        loop = asyncio.get_running_loop()
        for sig in HANDLED:
            loop.add_signal_handler(sig, self._waiting.put_nowait, sig)
        self._obeying = asyncio.ensure_future(self._obey_all())

    def stop(self) -> None:
        """Obey no more."""
        self._obeying.cancel()

    async def _obey_all(self) -> None:
        while True:
            self._obey(signal.Signals(await self._waiting.get()))

    def _obey(self, sig: signal.Signals) -> None:
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
        elif sig == signal.SIGUSR2:
            supervisor.dump()
        elif sig == signal.SIGQUIT or supervisor.stopping:
            logger.warning("%s: ending at once", sig.name)
            supervisor.stop(at_once=True)
        else:
            logger.info("%s: draining %s", sig.name, workers_in_words(count))
            supervisor.stop()
