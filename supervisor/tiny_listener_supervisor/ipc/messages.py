"""What supervisor, workers and watcher say to each other. Every message is a type of its own; none is a bare text."""

from __future__ import annotations

import ipaddress
import socket
from typing import TypeAlias

import msgspec

from .fd_batches import Parcel

__all__ = [
    "Acquire",
    "Address",
    "BootFailed",
    "CannotBorrow",
    "CannotTakeLog",
    "Changed",
    "Draining",
    "Due",
    "Dumped",
    "FromWatcher",
    "FromWorker",
    "GiveBack",
    "Granted",
    "Lend",
    "Ready",
    "Refused",
    "Stop",
    "TakeLog",
    "ToWorker",
    "WatchFailed",
    "Watching",
    "fault_of",
]


class Address(msgspec.Struct, frozen=True, array_like=True):
    """A listening address; see `tiny_listener.core.runtime.ListenAddress`."""

    family: int
    host: str
    port: int
    backlog: int
    index: int = 0
    """Which of several sockets with port 0 at one host."""
    mode: int | None = None
    """Of a unix socket's file."""
    kind: int = int(socket.SOCK_STREAM)


MAX_BACKLOG = 2**31 - 1
FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
INTERNET = {int(socket.AF_INET): 4, int(socket.AF_INET6): 6}


def fault_of(address: Address) -> str | None:
    """Say why an address is none that a worker may ask for; None: it may.

    A supervisor that is root could make other sockets as well, such as those that see all packets (packet(7), raw(7)),
    and to look a name up would keep it waiting.
    """
    if address.family not in FAMILIES or address.kind not in KINDS:
        return "it is no TCP or UDP address, and no path of a unix socket"
    if not (0 <= address.port <= 65535 and 0 <= address.backlog <= MAX_BACKLOG):
        return f"its port is one of 0 to 65535, its backlog of 0 to {MAX_BACKLOG}"
    if address.family == socket.AF_UNIX:
        return None
    try:
        version = ipaddress.ip_address(address.host).version
    except ValueError:
        version = None
    return None if version == INTERNET[address.family] else "it is no numeric address of its family"


class Acquire(msgspec.Struct, tag=True, frozen=True):
    """Worker: lend me my slot's sockets for these addresses."""

    id: int
    addresses: list[Address]


class Ready(msgspec.Struct, tag=True, frozen=True):
    """Worker: events are taken in."""


class Draining(msgspec.Struct, tag=True, frozen=True):
    """Worker: nothing new is accepted any more, whoever asked for that; what is in flight finishes."""


class BootFailed(msgspec.Struct, tag=True, frozen=True):
    """Worker: the application cannot be imported or started.

    :ivar exit_code: for the command: 1 when it cannot start as things are, 3 when the application failed
    :ivar text: for the terminal: one line, or the application's traceback
    """

    exit_code: int
    text: str


class Dumped(msgspec.Struct, tag=True, frozen=True):
    """The worker has written its stacks, as SIGUSR2 tells it to."""


class Due(msgspec.Struct, tag=True, frozen=True):
    """Worker: so many events were dispatched; it is time for a successor."""

    events: int


class CannotBorrow(msgspec.Struct, tag=True, frozen=True):
    """Worker: what was lent to it did not arrive, or cannot be served, for want of file descriptors.

    :ivar slot: whose sockets that were
    """

    slot: int


class CannotTakeLog(msgspec.Struct, tag=True, frozen=True):
    """Worker: the log file did not arrive, for want of file descriptors; it goes on in the old one."""


class Granted(Parcel, tag=True, frozen=True):
    """Supervisor: here they are, one file descriptor for each address, in their order."""

    id: int


class Refused(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: one of them cannot be had."""

    id: int
    errno: int
    text: str


class Stop(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: drain and exit."""


class Lend(Parcel, tag=True, frozen=True):
    """Supervisor: accept from a sibling's sockets too, which come with this; its worker does not.

    :ivar slot: the sibling's
    """

    slot: int


class GiveBack(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: accept from them no longer, and close your copies."""

    slot: int


class TakeLog(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: the log file was reopened; it comes with this. Go on there."""


class Watching(msgspec.Struct, tag=True, frozen=True):
    """Watcher: from now on no change is missed.

    :ivar polls: why it looks at all files again and again; None: the system reports changes
    """

    polls: str | None = None


class Changed(msgspec.Struct, tag=True, frozen=True):
    """Watcher: files changed.

    :ivar paths: some of them
    :ivar count: of all
    """

    paths: list[str]
    count: int


class WatchFailed(msgspec.Struct, tag=True, frozen=True):
    """Watcher: nothing can be watched any more, and why, in one line."""

    text: str


FromWorker: TypeAlias = Acquire | Ready | Draining | Due | Dumped | BootFailed | CannotBorrow | CannotTakeLog
ToWorker: TypeAlias = Granted | Refused | Lend | GiveBack | TakeLog | Stop
FromWatcher: TypeAlias = Watching | Changed | WatchFailed
