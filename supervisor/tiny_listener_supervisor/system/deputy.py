"""Deputy: a process that does one thing with the rights of the workers' user, for a supervisor that runs as root.

It is forked, becomes the user for good, does its work, and sends the result back, including file descriptors. It may
hang, in a file system that the user provides, so the supervisor waits for it only with a timeout. It keeps none of the
supervisor's descriptors open. The user's other processes cannot inspect it: a process that changed its user is not
dumpable (prctl(2)).
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from tiny_listener.errors import CannotLoad
from tiny_listener.net.addresses import ListenError

from ..ipc.channel import Channel, ChannelClosed, DescriptorsLost, GarbledMessage, fitting
from .own_process import become_a_process_of_its_own, die_with_the_supervisor

if TYPE_CHECKING:
    from .privileges import Identity

__all__ = ["Deputy", "Work"]

Result: TypeAlias = tuple[tuple[int, ...], list[int]]
"""Numbers, and file descriptors."""
Work: TypeAlias = Callable[[], Result]
ENDS_WITHIN = 0.2
"""Seconds in which a killed process is gone, unless it is in an uninterruptible system call."""


class _Did(msgspec.Struct, tag=True, frozen=True):
    numbers: tuple[int, ...]


class _Failed(msgspec.Struct, tag=True, frozen=True):
    errno: int
    text: str
    says_what: bool
    """Whether the text is a complete message for the terminal."""


class Deputy:
    """A process that does something as another user.

    :param work: called in that process; it may raise OSError
    :param keep: file descriptors that it needs
    :raises OSError: the process could not be started
    """

    def __init__(self, identity: Identity, work: Work, keep: tuple[int, ...] = ()) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        supervisor = os.getpid()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _main(identity, work, theirs, keep, supervisor)
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        self._channel: Channel[_Did | _Failed, None] = Channel(ours, _Did | _Failed)
        self._result: Result | OSError | None = None

    def fileno(self) -> int:
        """Return the file descriptor to wait on: it is readable when there is more to `hear`."""
        return self._channel.fileno()

    def hear(self) -> bool:
        """Receive what it has sent; return whether it has ended."""
        try:
            while (received := self._channel.receive()) is not None:
                message, fds = received
                if isinstance(message, _Did):
                    self._result = message.numbers, fds
                else:
                    kind = ListenError if message.says_what else OSError
                    self._result = kind(message.errno, message.text)
        except (GarbledMessage, DescriptorsLost) as exc:
            self._result = OSError(errno.EMFILE if isinstance(exc, DescriptorsLost) else errno.EIO, str(exc))
        except (ChannelClosed, OSError):
            return True
        return False

    def result(self) -> Result:
        """Return the result.

        :raises OSError: what the work raised; ETIMEDOUT: it has not ended
        """
        if self._result is None:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if isinstance(self._result, OSError):
            raise self._result
        return self._result

    def wait(self, seconds: float) -> Result:
        """Wait until it has ended, and return the result; see `result`."""
        self._wait(seconds)
        return self.result()

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        while not self.hear():
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return False
        return True

    def kill(self) -> None:
        """Kill it."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it if it still runs, and reap it. A process in an uninterruptible system call is left behind."""
        if not self._wait(0.0):
            self.kill()
            if not self._wait(ENDS_WITHIN):
                self._channel.close()
                return
        self.reap()

    def reap(self) -> None:
        """Reap it once it has ended."""
        self._channel.close()
        os.waitpid(self.pid, 0)


def _main(identity: Identity, work: Work, line: socket.socket, keep: tuple[int, ...], supervisor: int) -> None:
    """Run in the forked process; never returns."""
    try:
        become_a_process_of_its_own(frozenset((line.fileno(), *keep)), supervisor)
        channel: Channel[None, _Did | _Failed] = Channel(line, None)
        try:
            identity.give_up_rights()
            die_with_the_supervisor(supervisor)
            numbers, fds = work()
            channel.send(_Did(numbers), fds)
        except CannotLoad as exc:
            channel.send(_Failed(0, fitting(str(exc)), says_what=True))
        except OSError as exc:
            text = fitting(exc.strerror or str(exc))
            channel.send(_Failed(exc.errno or 0, text, isinstance(exc, ListenError)))
        except Exception as exc:  # such as ValueError, for a path with a NUL in it
            channel.send(_Failed(errno.EINVAL, fitting(str(exc)), says_what=False))
    finally:
        os._exit(0)
