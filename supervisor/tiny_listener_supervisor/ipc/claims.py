"""Claims: if two servers start on one address at the same moment, one of them is refused.

Sockets with SO_REUSEPORT of one user share a port (socket(7)), and a socket that is bound but does not listen yet
conflicts with nothing. So while two supervisors boot, probing the port does not detect the conflict. Each supervisor
claims its addresses before it binds them, by binding names in the abstract namespace of unix sockets (unix(7)). A name
has one owner, belongs to a network namespace as ports do, leaves no file behind, and is free once its owner ends.

The kernel shares a port only between processes of the same user. So the names contain the user id. A name that belongs
to another user is ignored; otherwise that user could keep this server off a port.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tiny_listener.net.addresses import ListenError, describe, in_use

__all__ = ["Claim", "Place", "claim", "locked", "overlap", "parse"]

PREFIX = "tiny-listener"
_NAME = re.compile(rf"{PREFIX}/(\d{{1,10}})/(\d{{1,10}})/(\d{{1,5}})/(\d{{1,10}})/([^/]+)", re.ASCII)
LOCK_TIMEOUT = 2.0
"""Seconds to wait for the lock on a port. A starting server holds it for a few milliseconds; if longer, it hangs."""
LOCK_RETRY = 0.005
BACKLOG = 1024
"""Maximum number of refused servers that connect to ask for the owner of a claim. They are never accepted."""
UCRED = struct.Struct("=iII")
"""ucred of unix(7): process, user, group."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is claimed.

    :ivar family: AF_INET or AF_INET6; the two never overlap, because our IPv6 sockets are IPv6-only
    :ivar kind: SOCK_STREAM or SOCK_DGRAM
    :ivar host: the address in hexadecimal digits, followed by `%` and its scope, if it has one
    """

    user: int
    kind: int
    port: int
    family: int
    host: str

    @classmethod
    def of(cls, family: int, kind: int, host: str, port: int) -> Place:
        """Return the place of an address.

        :param host: a numeric address; '': all addresses of the family
        """
        address, percent, scope = host.partition("%")
        wildcard = "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - a name, nothing is bound
        digits = socket.inet_pton(family, address or wildcard).hex()
        return cls(os.geteuid(), int(kind), port, int(family), f"{digits}{percent}{scope}")

    @property
    def lock(self) -> str:
        """Name of the lock on the port: one server at a time claims and binds there."""
        return f"{PREFIX}/{self.user}/{self.kind}/{self.port}"

    @property
    def name(self) -> str:
        """Name of the claim."""
        return f"{self.lock}/{self.family}/{self.host}"

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all addresses of its family."""
        return not self.host.strip("0")


def parse(name: str) -> Place | None:
    """Return the place that a name claims; None: the name is not a claim."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    user, kind, port, family = (int(found[number]) for number in range(1, 5))
    return Place(user, kind, port, family, found[5])


def overlap(one: Place, other: Place) -> bool:
    """Decide whether two servers of one user conflict if they have these places."""
    if (one.user, one.kind, one.port, one.family) != (other.user, other.kind, other.port, other.family):
        return False
    return one.host == other.host or one.is_wildcard or other.is_wildcard


class Claim:
    """A claimed address, until it is closed or the process ends."""

    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock

    def close(self) -> None:
        """Release the claim."""
        if self._sock is not None:
            self._sock.close()


def claim(family: int, kind: int, host: str, port: int) -> Claim:
    """Claim an address before it is bound. The port must be `locked`.

    :raises ListenError: EADDRINUSE; another server of this user has claimed it, or an overlapping address
    """
    place = Place.of(family, kind, host, port)
    for name in sorted({place.name, *_names()}):
        other = parse(name)
        if other is not None and overlap(place, other) and (holder := _holder(name)) is not None:
            if holder == os.getpid():  # the kernel decides whether one server may have both addresses
                continue
            raise ListenError(
                errno.EADDRINUSE,
                in_use(describe(host, port), _by(holder), kind),
            )
    return Claim(_take(place.name))


@contextlib.contextmanager
def locked(family: int, kind: int, host: str, port: int) -> Iterator[None]:
    """Hold the lock on a port; only servers of this user use it.

    If the lock is not available, continue without it: the check whether the port is in use remains.
    """
    name = Place.of(family, kind, host, port).lock
    deadline = time.monotonic() + LOCK_TIMEOUT
    lock = _take(name)
    while lock is None and time.monotonic() < deadline and _holder(name, unheard=0) is not None:
        time.sleep(LOCK_RETRY)
        lock = _take(name)
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def _take(name: str) -> socket.socket | None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(f"\0{name}")
        sock.listen(BACKLOG)
    except OSError:  # it is taken, or a sandbox does not allow such names
        sock.close()
        return None
    return sock


def _holder(name: str, unheard: int | None = None) -> int | None:
    """Return the process that owns a name; 0 if it has no pid in this namespace. None: no process of this user.

    :param unheard: the value to return if the name is taken but its socket does not listen at the moment
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)  # noqa: FBT003
        try:
            asking.connect(f"\0{name}")
            pid, user, _ = UCRED.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
        except ConnectionRefusedError:  # it is free, or bound but not listening yet
            return unheard
        except OSError:  # its queue is full: our own servers do not connect that often
            return None
    return int(pid) if user == os.geteuid() else None


def _by(pid: int) -> str:
    with contextlib.suppress(OSError):
        return f" by {Path(f'/proc/{pid}/comm').read_text(errors='replace').strip()} (pid {pid})"
    return ""


def _names() -> set[str]:
    """Return the claimed names in the abstract namespace (proc_pid_net(5)); none if /proc is not available."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
        return {line.rpartition(" @")[2] for line in lines if f" @{PREFIX}/" in line}
    return set()
