"""Listening sockets that were open before the command started: `--fd`, and those of systemd (sd_listen_fds(3))."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import MutableMapping

from .addresses import ListenError

__all__ = ["open_inherited", "take_from_systemd"]

LISTEN_FDS_START = 3
"""The first file descriptor that systemd passes (SD_LISTEN_FDS_START)."""
VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")


def take_from_systemd(environ: MutableMapping[str, str], pid: int) -> tuple[int, ...]:
    """Return the sockets that systemd passed to this process, and remove the variables that announce them.

    Variables for another process are not removed.

    :raises ListenError: the variables are for this process and invalid
    """
    if environ.get("LISTEN_PID") != str(pid):
        return ()
    count = environ.get("LISTEN_FDS", "")
    for name in VARIABLES:
        environ.pop(name, None)
    if not (count.isascii() and count.isdigit()):
        raise ListenError(errno.EINVAL, f"LISTEN_FDS={count} is not a number; unset LISTEN_PID to go without it")
    fds = tuple(range(LISTEN_FDS_START, LISTEN_FDS_START + int(count)))
    for fd in fds:
        open_inherited(fd).detach()
        os.set_inheritable(fd, False)  # noqa: FBT003
    return fds


def open_inherited(fd: int) -> socket.socket:
    """Return the listening socket with this file descriptor.

    :raises ListenError: it is not a listening socket
    """
    try:
        sock = socket.socket(fileno=fd)
    except OSError as exc:
        raise _refusal(fd, "it is not open" if exc.errno == errno.EBADF else "it is not a socket") from None
    why = None
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        why = "it is neither a TCP nor a unix socket"
    elif sock.type != socket.SOCK_STREAM:
        why = "it is not a stream socket"
    elif not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        why = "it does not listen; call listen() on it before it is passed"
    if why is not None:
        sock.detach()  # it still belongs to its owner
        raise _refusal(fd, why)
    return sock


def _refusal(fd: int, why: str) -> ListenError:
    return ListenError(errno.ENOTSOCK, f"cannot listen on file descriptor {fd}: {why}")
