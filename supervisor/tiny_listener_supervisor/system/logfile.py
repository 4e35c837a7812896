"""The log file that all processes of a server append to, and its rotation.

After logrotate(8) has renamed it, USR1 makes the supervisor reopen the path and send the new file to each worker. The
file replaces the old one under the same descriptor number, with dup2(2), in one step. Nothing written meanwhile is
lost: it ends up in one file or the other. Workers do not open it themselves, because their user may not be allowed to.
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
    """A file that is open for appending.

    :param rights: the rights with which it is opened; with root's, anyone who can replace the path could make root
        write anywhere
    :ivar path: absolute
    :ivar fd: its file descriptor, which never changes
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

        :raises OSError: it cannot be opened; the old file stays in use
        """
        self.take(self._open())

    def take(self, fd: int) -> None:
        """Switch to a file that was opened elsewhere, and close the given descriptor."""
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)


def reopen(log_file: LogFile | None, workers: Iterable[Worker] = ()) -> None:
    """Reopen the log file, pass it to the workers, and log the outcome."""
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
    logger.info("SIGUSR1: reopened %s", log_file.path)


def pass_on(log_file: LogFile, worker: Worker) -> None:
    """Send the current file to a worker."""
    with contextlib.suppress(ChannelClosed, OSError):  # it is about to exit, or does not read
        worker.channel.send(TakeLog(), [log_file.fd])
