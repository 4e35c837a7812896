"""The rights with which a supervisor that runs as root accesses a path: its own, or those of the workers' user
(`--user`).

If anyone besides root can write to a folder, its contents can change between a check and an action: a file can become a
link to a file of root, or another folder. No order of checks and actions makes that safe for root. So root acts only
where root alone controls what a path leads to. Everywhere else a process that has become the user acts: the kernel
denies it everything that the user may not access anyway (see `deputy`).
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
"""Symbolic links in a path, as in path_resolution(7)."""
TIME_LIMIT = 2.0
"""Seconds that the supervisor waits, for example to reopen a log file. A file system that the user provides (FUSE) can
take any time."""


class Rights:
    """Accesses paths, with root's rights only where root alone controls what is there.

    :param identity: the user that workers become; None: they stay what the supervisor is, and it does everything itself
    """

    def __init__(self, identity: Identity | None = None) -> None:
        becomes = identity is not None and os.geteuid() == ROOT and identity.uid != ROOT
        self._identity = identity if becomes else None
        self.owner = identity.owner if identity is not None else None
        """User and group that own the workers' files; None: those of this process."""

    @property
    def differ(self) -> bool:
        """Whether workers have fewer rights than this process."""
        return self._identity is not None

    @property
    def name(self) -> str:
        """The user that workers become, for messages."""
        return self._identity.name if self._identity is not None else "the supervisor"

    def are_roots(self, path: str) -> bool:
        """Whether this process may access a path itself."""
        return self._identity is None or only_root_may_exchange(path)

    def begin(self, work: Work, keep: tuple[int, ...] = ()) -> Deputy:
        """Start doing something as the workers' user, in a separate process.

        :param keep: file descriptors that it needs
        :raises OSError: the process could not be started
        """
        assert self._identity is not None
        return Deputy(self._identity, work, keep)

    def explain(self, exc: OSError) -> OSError:
        """Return an error that names the user whose rights were not sufficient."""
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
        """Open or create a file; return its file descriptor.

        :raises OSError: it cannot be opened
        """
        if self.are_roots(path):
            return os.open(path, flags, mode)
        _, (fd,) = self._done(lambda: ((), [os.open(path, flags, mode)]))
        return fd

    def call(self, path: str, function: Callable[[], None]) -> None:
        """Call a function that accesses a path and returns nothing.

        :raises OSError: raised by the function
        """
        if self.are_roots(path):
            function()
            return

        def work() -> tuple[tuple[int, ...], list[int]]:
            function()
            return (), []

        self._done(work)

    def listen(self, path: str, backlog: int, mode: int | None) -> UnixSocket:
        """Listen on a unix socket; see `listen_unix`.

        :raises OSError: the path is not available
        """
        if self.are_roots(path):
            return listen_unix(path, backlog, mode)
        return unix_socket(path, *self._done(lambda: _listening(path, backlog, mode)))

    def remove(self, unix: UnixSocket) -> None:
        """Remove the file of a unix socket, if it is still ours. Call this before the socket is closed."""
        if self.are_roots(unix.path):
            unix.remove()
            return
        with contextlib.suppress(OSError):
            self._done(removing(unix), (unix.sock.fileno(),))

    def begin_to_listen(self, path: str, backlog: int, mode: int | None, kind: int) -> Deputy:
        """Start listening on a unix socket as the workers' user; pass the result to `unix_socket`.

        :raises OSError: the process could not be started
        """
        return self.begin(lambda: _listening(path, backlog, mode, kind))


def removing(unix: UnixSocket) -> Work:
    """Return work that removes the file of a unix socket."""

    def work() -> tuple[tuple[int, ...], list[int]]:
        unix.remove()
        return (), []

    return work


def unix_socket(path: str, identity: tuple[int, ...], fds: list[int]) -> UnixSocket:
    """Return the unix socket that a deputy made."""
    return UnixSocket.of(fds[0], path, identity)


def _listening(
    path: str, backlog: int, mode: int | None, kind: int = socket.SOCK_STREAM
) -> tuple[tuple[int, ...], list[int]]:
    unix = listen_unix(path, backlog, mode, kind=kind)
    return unix.identity, [unix.sock.detach()]


def only_root_may_exchange(path: str) -> bool:
    """Whether root alone controls what a path leads to, now and later.

    Every folder on the path, including those behind symbolic links, must belong to root and be writable by root only.
    In a folder with the sticky bit, such as /tmp, others can create files but not replace root's (inode(7)). So such a
    folder may be on the path, but must not contain the file itself, which may not exist for a moment. Access lists
    (acl(5)) do not widen this: the group bits are their mask.

    :param path: it does not have to exist
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
        except OSError:  # nothing there that could be replaced, and only root may write to the folder
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
