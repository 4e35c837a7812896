"""The log file that all processes of a server append to, and its change under their hands.

After logrotate(8) has renamed it, USR1 lets the supervisor reopen the path and send each worker the new file. It is
put at the number that the old one had, with dup2(2), in one step: nothing that is written meanwhile is lost, it is at
the end of the one file or in the other. Workers do not open it themselves: theirs may be a user who must not.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tiny_listener.errors import CannotLoad

from ..ipc.channel import ChannelClosed
from ..ipc.messages import TakeLog
from .rights import Rights

if TYPE_CHECKING:
    from ..fleet.slot import Worker

__all__ = ["LogFile", "pass_on", "reopen"]

logger = logging.getLogger("tiny_listener.supervisor")


class LogFile:
    """A file that is open to append to.

    :param rights: those with which it is opened: whoever may exchange the path could have root write anywhere
    :ivar path: absolute
    :ivar fd: its file descriptor, the same forever
    :raises CannotLoad: it cannot be opened
    """

    def __init__(self, path: str, rights: Rights | None = None) -> None:
        self.path = Path(path).absolute()
        self._rights = rights or Rights()
        try:
            self.fd = self._open()
        except OSError as exc:
            raise CannotLoad(f"cannot write the log file {self.path}: {exc.strerror} (--log-file)") from None

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        return self._rights.open(str(self.path), flags, 0o666)

    def reopen(self) -> None:
        """Reopen the path.

        :raises OSError: that cannot be; the old file stays in use
        """
        self.take(self._open())

    def take(self, fd: int) -> None:
        """Go on in a file that somebody else opened; closes that number of it."""
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)


def reopen(log_file: LogFile | None, workers: Iterable[Worker] = ()) -> None:
    """Reopen the log file and have the workers go on in it too; what that came to is logged."""
    if log_file is None:
        logger.warning("SIGUSR1: there is no --log-file to reopen")
        return
    try:
        log_file.reopen()
    except OSError as exc:
        logger.error("SIGUSR1: cannot reopen %s: %s; the old file stays in use", log_file.path, exc.strerror)
        return
    for worker in workers:
        pass_on(log_file, worker)
    logger.info("SIGUSR1: %s is reopened", log_file.path)


def pass_on(log_file: LogFile, worker: Worker) -> None:
    """Send a worker the file as it is now."""
    with contextlib.suppress(ChannelClosed, OSError):  # it is about to end, or does not read for long
        worker.channel.send(TakeLog(), [log_file.fd])
