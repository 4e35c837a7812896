"""Listening addresses in messages: why one is not available, and which process uses it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

__all__ = ["ListenError", "describe", "listen_error", "name_of"]


NONE_OF_THEM = "could not bind on any address out of"
"""What asyncio raises from Python 3.13 on, instead of EADDRNOTAVAIL."""


class ListenError(OSError):
    """A listening socket is not available. The text is one line that says why, and what would help."""


def describe(host: str | None, port: int | None) -> str:
    """Return an address in the usual notation."""
    if port is None:
        return str(host)
    return f"[{host}]:{port}" if host and ":" in host else f"{host or '*'}:{port}"


def name_of(sock: socket.socket) -> str:
    """Return the address that clients connect to: `127.0.0.1:8000`, `[::1]:8000`, `unix:/run/web.sock`."""
    name = sock.getsockname()
    return f"unix:{name}" if sock.family == socket.AF_UNIX else describe(name[0], name[1])


def listen_error(exc: OSError, host: str | None, port: int | None, kind: int = socket.SOCK_STREAM) -> ListenError:
    """Return the exception to raise if `(host, port)` cannot be bound; the path of a unix socket has no port.

    :param kind: `socket.SOCK_STREAM`, or `SOCK_DGRAM` for UDP
    """
    where = describe(host, port)
    if isinstance(exc, socket.gaierror):  # its numbers are getaddrinfo(3)'s own
        text = f"cannot listen on {where}: {host!r} is not an address of this machine: {exc.strerror}"
    elif exc.errno == errno.EADDRINUSE:
        holder = holder_of_port(port, kind) if port is not None else None
        text = in_use(where, f" by {holder}" if holder else "", kind)
        if port is None:
            why = "a server already listens there; stop it, or choose another path with --uds"
            text = f"cannot listen on {where}: {why}"
    elif exc.errno in (errno.EACCES, errno.EPERM):
        text = f"cannot listen on {where}: no permission" + (
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE" if port is not None and port < 1024 else ""
        )
    elif exc.errno == errno.EADDRNOTAVAIL or (exc.errno is None and str(exc).startswith(NONE_OF_THEM)):
        text = f"cannot listen on {where}: this machine has no such address"
    else:
        text = f"cannot listen on {where}: {os.strerror(exc.errno) if exc.errno else exc}"
    return ListenError(exc.errno, text)


def in_use(where: str, by: str, kind: int) -> str:
    """Return the message for an address that is in use.

    :param by: ` by nginx (pid 123)`, or nothing
    """
    another = (
        "another with --port" if kind == socket.SOCK_STREAM else "another port"
    )  # there is no option for a UDP port
    return f"cannot listen on {where}: it is in use{by}; stop that, or choose {another}"


def holder_of_port(port: int, kind: int = socket.SOCK_STREAM) -> str | None:
    """Return the process that listens on a port: `nginx (pid 123)`; None if /proc does not tell.

    See proc_pid_net(5): the tables list the inode of each socket, and each process its open ones.

    :param kind: `socket.SOCK_STREAM`, or `SOCK_DGRAM` for UDP
    """
    tables = ("tcp", "tcp6") if kind == socket.SOCK_STREAM else ("udp", "udp6")
    inodes = {inode for table in tables for inode in _inodes(table, port)}
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it is gone, or belongs to another user
            if any(_link(fd) in wanted for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text(errors='replace').strip()} (pid {process.name})"
    return None


def _link(fd: Path) -> str:
    try:
        return os.readlink(fd)
    except OSError:  # closed meanwhile
        return ""


def _inodes(table: str, port: int) -> list[str]:
    """Return the inodes of the sockets that occupy a port: for TCP those that listen, for UDP all."""
    try:
        lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    except OSError:
        return []
    listening = "0A"  # TCP_LISTEN
    rows = [line.split() for line in lines]
    at_port = [row for row in rows if int(row[1].rpartition(":")[2], 16) == port]
    return [row[9] for row in at_port if row[3] == listening or table.startswith("udp")]
