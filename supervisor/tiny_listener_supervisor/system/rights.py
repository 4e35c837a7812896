"""With whose rights a supervisor that is root touches a path: its own, or those of the workers' user (`--user`).

What is in a folder that another than root may write to can become something else between a look and an act: a link to
a file of root's, or another folder. No order of looks and acts of root's is safe from that. So root acts where only
root may exchange what a path leads to; everywhere else a process does it that has become the user, to whom the kernel
refuses whatever is not the user's anyway (see `deputy`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tiny_listener.net.addresses import ListenError
from tiny_listener.net.unix import UnixSocket, listen_unix

from .deputy import Deputy, Work

if TYPE_CHECKING:
    from .privileges import Identity

__all__ = ["Rights", "only_root_may_exchange", "removing", "unix_socket"]

ROOT = 0
MAX_LINKS = 40
"""Symbolic links on a way, as in path_resolution(7)."""
TIME_LIMIT = 2.0
"""Seconds for what the supervisor waits for, such as a log file that is opened anew; a file system of the user's (FUSE)
can take any time."""


class Rights:
    """Does what has to be done at a path, with root's rights only where root alone decides what is there.

    :param identity: whom workers become; None: they stay who the supervisor is, and all is done by itself
    """

    def __init__(self, identity: Identity | None = None) -> None:
        becomes = identity is not None and os.geteuid() == ROOT and identity.uid != ROOT
        self._identity = identity if becomes else None
        self.owner = identity.owner if identity is not None else None
        """User and group that files of theirs are to belong to; None: those of this process."""

    @property
    def differ(self) -> bool:
        """Whether workers have fewer rights than this process."""
        return self._identity is not None

    @property
    def name(self) -> str:
        """Who workers become, for messages."""
        return self._identity.name if self._identity is not None else "the supervisor"

    def are_roots(self, path: str) -> bool:
        """Whether this process may touch a path by itself."""
        return self._identity is None or only_root_may_exchange(path)

    def begin(self, work: Work, keep: tuple[int, ...] = ()) -> Deputy:
        """Begin to do something as the workers' user, in a process of its own.

        :param keep: file descriptors that it needs
        :raises OSError: there can be no process
        """
        assert self._identity is not None
        return Deputy(self._identity, work, keep)

    def explain(self, exc: OSError) -> OSError:
        """Return an error that says whose rights were not enough."""
        if exc.errno not in (errno.EACCES, errno.EPERM):
            return exc
        named = ", and name it with --uds" if isinstance(exc, ListenError) else ""
        which = f"choose a folder of that user's, or one that only root may write to{named}"
        text = f"{exc.strerror or exc} for {self.name}; {which}"
        return type(exc)(exc.errno, text)

    def _done(self, work: Work, keep: tuple[int, ...] = ()) -> tuple[tuple[int, ...], list[int]]:
        deputy = self.begin(work, keep)
        try:
            return deputy.wait(TIME_LIMIT)
        except OSError as exc:
            raise self.explain(exc) from None
        finally:
            deputy.end()

    def open(self, path: str, flags: int, mode: int) -> int:
        """Return the file descriptor of a file that is opened, or made.

        :raises OSError: it cannot be opened
        """
        if self.are_roots(path):
            return os.open(path, flags, mode)
        _, (fd,) = self._done(lambda: ((), [os.open(path, flags, mode)]))
        return fd

    def call(self, path: str, function: Callable[[], None]) -> None:
        """Call what touches a path and returns nothing.

        :raises OSError: what the function raised
        """
        if self.are_roots(path):
            function()
            return

        def work() -> tuple[tuple[int, ...], list[int]]:
            function()
            return (), []

        self._done(work)

    def listen(self, path: str, backlog: int, mode: int | None) -> UnixSocket:
        """Listen at a unix socket; see `listen_unix`.

        :raises OSError: it cannot be had
        """
        if self.are_roots(path):
            return listen_unix(path, backlog, mode)
        return unix_socket(path, *self._done(lambda: _listening(path, backlog, mode)))

    def remove(self, unix: UnixSocket) -> None:
        """Remove the file of a unix socket, if it is still ours, before the socket is closed."""
        if self.are_roots(unix.path):
            unix.remove()
            return
        with contextlib.suppress(OSError):
            self._done(removing(unix), (unix.sock.fileno(),))

    def begin_to_listen(self, path: str, backlog: int, mode: int | None, kind: int) -> Deputy:
        """Begin to listen at a unix socket as the workers' user; what comes of it is for `unix_socket`.

        :raises OSError: there can be no process
        """
        return self.begin(lambda: _listening(path, backlog, mode, kind))


def removing(unix: UnixSocket) -> Work:
    """Return the work that removes the file of a unix socket."""

    def work() -> tuple[tuple[int, ...], list[int]]:
        unix.remove()
        return (), []

    return work


def unix_socket(path: str, identity: tuple[int, ...], fds: list[int]) -> UnixSocket:
    """Return the unix socket that a deputy has made."""
    return UnixSocket.of(fds[0], path, identity)


def _listening(
    path: str, backlog: int, mode: int | None, kind: int = socket.SOCK_STREAM
) -> tuple[tuple[int, ...], list[int]]:
    unix = listen_unix(path, backlog, mode, kind=kind)
    return unix.identity, [unix.sock.detach()]


def only_root_may_exchange(path: str) -> bool:
    """Whether no other user than root decides what a path leads to, whatever happens meanwhile.

    Each folder on the way, those behind symbolic links too, has to be root's, and nobody else may write to it. In one
    with the sticky bit, such as /tmp, others may make files and not exchange root's (inode(7)): it may be on the way,
    but not at its end, where the file itself may be missing for a moment. Access lists (acl(5)) do not widen this:
    the group's bits are their mask.

    :param path: it need not be there
    """
    where, links = "/", 0
    todo = _names(str(Path.cwd() / path))
    while todo:
        name = todo.pop(0)
        if name == "..":
            where = str(Path(where).parent)
            continue
        if not _is_roots(where, at_the_end=not todo):
            return False
        here = f"{where.rstrip('/')}/{name}"
        try:
            status = os.lstat(here)
        except OSError:  # there is nothing that could be exchanged, in a folder of root's alone
            return not os.lstat(where).st_mode & stat.S_ISVTX
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MAX_LINKS or status.st_uid != ROOT:
                return False
            target = os.readlink(here)
            where = "/" if target.startswith("/") else where
            todo = [*_names(target), *todo]
        elif todo:
            where = here
            if status.st_uid != ROOT:
                return False
    return True


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _is_roots(folder: str, *, at_the_end: bool) -> bool:
    status = os.lstat(folder)
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    is_sticky = status.st_mode & stat.S_ISVTX
    return status.st_uid == ROOT and (not others_write or bool(is_sticky and not at_the_end))
