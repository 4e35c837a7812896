"""Unix sockets for servers. The file of a socket belongs to the process that listens on it, and only that removes it.

When a server dies its file stays behind and blocks the path. Only connect(2) tells whether a server is alive, and two
servers that start at the same time could find the same stale file: the second would remove the file of the first. So a
server checks, binds and listens in one go while it holds a lock on the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .addresses import ListenError, listen_error

__all__ = ["UnixSocket", "listen_unix"]

LOCK_TIMEOUT = 2.0
"""Seconds to wait for the lock. A starting server holds it for less than a millisecond; if longer, it is not a server.
"""
LOCK_RETRY = 0.005


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A unix socket that listens, or receives datagrams.

    :ivar path: its file; a name that begins with NUL has no file (unix(7), abstract)
    """

    sock: socket.socket
    path: str
    identity: tuple[int, ...]
    """Identifies the file, also compared with later files of the same name; empty without a file."""

    @classmethod
    def of(cls, fd: int, path: str, identity: tuple[int, ...]) -> UnixSocket:
        """Return the socket that another process has opened and sent here.

        :param fd: belongs to this object from now on
        """
        return cls(socket.socket(fileno=fd), path, identity)

    @property
    def is_lost(self) -> bool:
        """Whether clients can no longer find it, because its file was removed or replaced."""
        if not has_file(self.path):
            return False
        try:
            return _identity_of(self.path) != self.identity
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # no access to the folder
            return False

    def remove(self) -> None:
        """Remove its file, if it is still ours. If possible, call this before the socket is closed: as long as the file
        exists, another server that starts then finds this one alive.
        """
        if not has_file(self.path):
            return
        with _locked(self.path), contextlib.suppress(OSError):
            if _identity_of(self.path) == self.identity:
                Path(self.path).unlink()


def listen_unix(
    path: str,
    backlog: int,
    mode: int | None = None,
    owner: tuple[int, int] | None = None,
    kind: int = socket.SOCK_STREAM,
) -> UnixSocket:
    """Bind a path and listen on it; replace the stale file of a dead server.

    :param mode: permissions of the file, regardless of the umask; None: 0777 less the umask
    :param owner: user and group of the file; None: those of the process
    :param kind: `socket.SOCK_STREAM`, or `SOCK_DGRAM`, which receives datagrams as soon as it is bound
    :raises ListenError: a server is alive there, it is not a socket, or it cannot be bound
    """
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        if not has_file(path):
            sock.bind(path)
            _listen(sock, backlog)
            return UnixSocket(sock, path, ())
        with _locked(path):
            _remove_stale(path)
            _bind(sock, path, mode)
            if owner is not None:
                _give_to(path, *owner)
            _listen(sock, backlog)
            return UnixSocket(sock, path, _identity_of(path))
    except OSError as exc:
        sock.close()
        raise (exc if isinstance(exc, ListenError) else listen_error(exc, path, None)) from None


def _listen(sock: socket.socket, backlog: int) -> None:
    if sock.type == socket.SOCK_STREAM:
        sock.listen(backlog)


def _bind(sock: socket.socket, path: str, mode: int | None) -> None:
    """Bind a socket to a path; its file never has more permissions than `mode`."""
    if mode is None:
        sock.bind(path)
        return
    # On Linux the file gets the mode of the socket, less the umask. Elsewhere only the umask counts; it is changed
    # briefly, for the whole process.
    umask = None
    try:
        os.fchmod(sock.fileno(), mode)
    except OSError:  # pragma: no cover
        umask = os.umask(0o777)
    try:
        sock.bind(path)
    finally:
        if umask is not None:  # pragma: no cover
            os.umask(umask)
    if sys.platform != "linux":  # pragma: no cover
        Path(path).chmod(mode)
        return
    with _held(path) as (fd, status):
        if stat.S_IMODE(status.st_mode) != mode:  # the umask removed permissions
            Path(f"/proc/self/fd/{fd}" if os.path.isdir("/proc/self/fd") else path).chmod(mode)


def _give_to(path: str, user: int, group: int) -> None:
    """Change the owner of a socket's file."""
    with _held(path) as (fd, _):
        os.chown(f"/proc/self/fd/{fd}", user, group)


@contextlib.contextmanager
def _held(path: str) -> Iterator[tuple[int, os.stat_result]]:
    """Hold a reference to the socket's file itself, even if another file, such as a symbolic link, replaces it.

    :raises OSError: EADDRINUSE, it is not a socket any more
    """
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISSOCK(status.st_mode):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        yield fd, status
    finally:
        os.close(fd)


def has_file(path: str) -> bool:
    """Whether a socket with this name has a file."""
    return path[:1] not in ("", "\0")


def _remove_stale(path: str) -> None:
    """Remove the socket file that a dead server left behind.

    :raises ListenError: it is not a socket
    :raises OSError: EADDRINUSE, a server is alive there; another error, it cannot be determined
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        text = f"cannot listen on {path}: it is not a socket; remove it, or choose another path with --uds"
        raise ListenError(errno.EEXIST, text)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 - a full queue is EAGAIN, not a wait
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except (BlockingIOError, OSError) as exc:
            if exc.errno not in (errno.EAGAIN, errno.EPROTOTYPE):  # its queue is full; it is of another type
                raise
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _identity_of(path: str) -> tuple[int, ...]:
    """Return what identifies a file among all files with its name; inode numbers are reused, often at once."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino, status.st_mtime_ns


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the lock on the folder of a path (flock(2)): it leaves no file behind, and ends with its holder.

    If the lock is not available, continue without it: any process that can read the folder could hold it forever.
    """
    fd = -1
    with contextlib.suppress(OSError):
        fd = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if fd >= 0:
            _lock(fd)
        yield
    finally:
        if fd >= 0:
            os.close(fd)


def _lock(fd: int) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while time.monotonic() < deadline:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_RETRY)
        except OSError:  # the file system does not support it
            return
        else:
            return
