"""Claims: of two servers that start at the same moment on one address, one is refused.

Sockets with SO_REUSEPORT of one user share a port (socket(7)), and a socket that is bound and does not listen yet is
in nobody's way. So no look at the port tells two supervisors from each other while both boot. Each claims its
addresses before it binds them, by names in the abstract namespace of unix sockets (unix(7)): a name has one owner, is
of a network namespace as ports are, leaves no file behind, and is free when its owner ends, however it does.

The kernel lets only processes of the same user share a port. So the names have the user's number in them, and one
that another user took, who could keep us from a port that way, is ignored.
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
"""Seconds to wait for the lock on a port. A start holds it for a few milliseconds: who holds it longer hangs."""
LOCK_RETRY = 0.005
BACKLOG = 1024
"""Servers that may have been refused by a claim, and asked whose it is: they are never accepted."""
UCRED = struct.Struct("=iII")
"""ucred of unix(7): process, user, group."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is claimed.

    :ivar family: AF_INET or AF_INET6; these never overlap, as all our sockets of IPv6 are of IPv6 alone
    :ivar kind: SOCK_STREAM or SOCK_DGRAM
    :ivar host: the address in hexadecimal digits, with its scope behind a `%`, if it has one
    """

    user: int
    kind: int
    port: int
    family: int
    host: str

    @classmethod
    def of(cls, family: int, kind: int, host: str, port: int) -> Place:
        """Return the place of an address.

        :param host: a numeric address; '' is all of the family's
        """
        address, percent, scope = host.partition("%")
        wildcard = "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - a name, nothing is bound
        digits = socket.inet_pton(family, address or wildcard).hex()
        return cls(os.geteuid(), int(kind), port, int(family), f"{digits}{percent}{scope}")

    @property
    def lock(self) -> str:
        """The name of the lock on the port: one server at a time claims and binds there."""
        return f"{PREFIX}/{self.user}/{self.kind}/{self.port}"

    @property
    def name(self) -> str:
        """The name of the claim."""
        return f"{self.lock}/{self.family}/{self.host}"

    @property
    def is_wildcard(self) -> bool:
        """Whether it is all addresses of its family."""
        return not self.host.strip("0")


def parse(name: str) -> Place | None:
    """Return the place that a name claims; None: it is no claim's."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    user, kind, port, family = (int(found[number]) for number in range(1, 5))
    return Place(user, kind, port, family, found[5])


def overlap(one: Place, other: Place) -> bool:
    """Decide whether two servers of a user cannot have these places both."""
    if (one.user, one.kind, one.port, one.family) != (other.user, other.kind, other.port, other.family):
        return False
    return one.host == other.host or one.is_wildcard or other.is_wildcard


class Claim:
    """An address that is ours until this is closed, or the process ends."""

    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock

    def close(self) -> None:
        """Let others have it."""
        if self._sock is not None:
            self._sock.close()


def claim(family: int, kind: int, host: str, port: int) -> Claim:
    """Claim an address, before it is bound; to be called with the port `locked`.

    :raises ListenError: EADDRINUSE, another server of this user has claimed it, or one that overlaps
    """
    place = Place.of(family, kind, host, port)
    for name in sorted({place.name, *_names()}):
        other = parse(name)
        if other is not None and overlap(place, other) and (holder := _holder(name)) is not None:
            if holder == os.getpid():  # of one server, what two addresses may be the kernel decides
                continue
            raise ListenError(
                errno.EADDRINUSE,
                in_use(describe(host, port), _by(holder), kind),
            )
    return Claim(_take(place.name))


@contextlib.contextmanager
def locked(family: int, kind: int, host: str, port: int) -> Iterator[None]:
    """Hold the lock on a port, which only servers of this user look at.

    Where it cannot be had things go on without it: a look whether somebody listens there remains.
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
    except OSError:  # somebody has it; or a sandbox allows no such names
        sock.close()
        return None
    return sock


def _holder(name: str, unheard: int | None = None) -> int | None:
    """Return the process that took a name; 0 where that has no number here. None: nobody of this user did.

    :param unheard: what to return where somebody took it, and does not listen at this instant
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)  # noqa: FBT003
        try:
            asking.connect(f"\0{name}")
            pid, user, _ = UCRED.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
        except ConnectionRefusedError:  # it is free, or was bound and does not listen yet
            return unheard
        except OSError:  # its queue is full: no start of ours asks so often
            return None
    return int(pid) if user == os.geteuid() else None


def _by(pid: int) -> str:
    with contextlib.suppress(OSError):
        return f" by {Path(f'/proc/{pid}/comm').read_text(errors='replace').strip()} (pid {pid})"
    return ""


def _names() -> set[str]:
    """Return the names in the abstract namespace (proc_pid_net(5)); none where /proc does not tell."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
        return {line.rpartition(" @")[2] for line in lines if f" @{PREFIX}/" in line}
    return set()
