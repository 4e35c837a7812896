"""Messages between supervisor, workers and watcher. Every message has its own type; none is plain text."""

from __future__ import annotations

import ipaddress
import socket
from typing import TypeAlias

import msgspec

from .fd_batches import FdBatch

__all__ = [
    "Acquire",
    "Address",
    "BootFailed",
    "CannotTakeLog",
    "CannotTakeOver",
    "CarrierLink",
    "Changed",
    "Due",
    "Dumped",
    "FromWatcher",
    "FromWorker",
    "Granted",
    "HandBack",
    "Ready",
    "Refused",
    "Stop",
    "TakeLog",
    "TakeOver",
    "ToWorker",
    "WantCarrier",
    "WatchFailed",
    "Watching",
    "WorkerDraining",
    "fault_of",
]


class Address(msgspec.Struct, frozen=True, array_like=True):
    """A listening address; see `tiny_listener.core.runtime.ListenAddress`."""

    family: int
    host: str
    port: int
    backlog: int
    index: int = 0
    """Distinguishes several sockets with port 0 on one host."""
    mode: int | None = None
    """Permissions of a unix socket's file."""
    kind: int = int(socket.SOCK_STREAM)


MAX_BACKLOG = 2**31 - 1
FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
INTERNET = {int(socket.AF_INET): 4, int(socket.AF_INET6): 6}


def fault_of(address: Address) -> str | None:
    """Return why a worker may not ask for an address; None: it may.

    A supervisor that runs as root could also make sockets that see all packets (packet(7), raw(7)), and a name lookup
    would block it.
    """
    if address.family not in FAMILIES or address.kind not in KINDS:
        return "it is neither a TCP or UDP address nor the path of a unix socket"
    if not (0 <= address.port <= 65535 and 0 <= address.backlog <= MAX_BACKLOG):
        return f"the port must be from 0 to 65535, the backlog from 0 to {MAX_BACKLOG}"
    if address.family == socket.AF_UNIX:
        return None
    try:
        version = ipaddress.ip_address(address.host).version
    except ValueError:
        version = None
    return None if version == INTERNET[address.family] else "it is not a numeric address of its family"


class Acquire(msgspec.Struct, tag=True, frozen=True):
    """Worker: send me my slot's sockets for these addresses."""

    id: int
    addresses: list[Address]


class Ready(msgspec.Struct, tag=True, frozen=True):
    """Worker: events are accepted."""


class WorkerDraining(msgspec.Struct, tag=True, frozen=True):
    """Worker: nothing new is accepted any more, for whatever reason; what is in flight finishes."""


class BootFailed(msgspec.Struct, tag=True, frozen=True):
    """Worker: the application cannot be imported or started.

    :ivar exit_code: for the command: 1 if it cannot start under these conditions, 3 if the application failed
    :ivar text: for the terminal: one line, or the application's traceback
    """

    exit_code: int
    text: str


class Dumped(msgspec.Struct, tag=True, frozen=True):
    """Worker: the stacks are written, as SIGUSR2 requested."""


class Due(msgspec.Struct, tag=True, frozen=True):
    """Worker: this number of events was dispatched; it is time for a successor."""

    events: int


class CannotTakeOver(msgspec.Struct, tag=True, frozen=True):
    """Worker: the sockets of a sibling did not arrive, or cannot be served, for want of file descriptors.

    :ivar slot: the sibling's slot
    """

    slot: int


class CannotTakeLog(msgspec.Struct, tag=True, frozen=True):
    """Worker: the log file did not arrive, for want of file descriptors; it keeps writing to the old one."""


class WantCarrier(msgspec.Struct, tag=True, frozen=True):
    """Worker: connect me with the carrier, and with each later one.

    :ivar starts: whether to start it if it does not run
    :ivar lost: whether a link was lost on its way, and another one is needed
    """

    starts: bool
    lost: bool = False


class Granted(FdBatch, tag=True, frozen=True):
    """Supervisor: the sockets, one file descriptor for each address, in the same order."""

    id: int


class Refused(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: one of the addresses is not available."""

    id: int
    errno: int
    text: str


class Stop(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: drain and exit."""


class TakeOver(FdBatch, tag=True, frozen=True):
    """Supervisor: take over a sibling's accept queue. Its sockets come with this message; its worker does not serve
    them.

    :ivar slot: the sibling's slot
    """

    slot: int


class HandBack(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: stop accepting from the sibling's sockets, and close your copies."""

    slot: int


class TakeLog(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: the log file was reopened and comes with this message. Write to it from now on."""


class CarrierLink(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: a link to the carrier comes with this message, the first one or that of a restarted carrier."""


class Watching(msgspec.Struct, tag=True, frozen=True):
    """Watcher: from now on no change is missed.

    :ivar polls: why it polls all files; None: the system reports changes
    """

    polls: str | None = None


class Changed(msgspec.Struct, tag=True, frozen=True):
    """Watcher: files changed.

    :ivar paths: some of them
    :ivar count: the number of all changed files
    """

    paths: list[str]
    count: int


class WatchFailed(msgspec.Struct, tag=True, frozen=True):
    """Watcher: watching failed for good, and why, in one line."""

    text: str


FromWorker: TypeAlias = (
    Acquire | Ready | WorkerDraining | Due | Dumped | BootFailed | CannotTakeOver | CannotTakeLog | WantCarrier
)
ToWorker: TypeAlias = Granted | Refused | TakeOver | HandBack | TakeLog | CarrierLink | Stop
FromWatcher: TypeAlias = Watching | Changed | WatchFailed
