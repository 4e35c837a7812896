"""What stands around a listener: the process that runs it, alone or as one of many."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from .observer import NULL_OBSERVER, Observer

if TYPE_CHECKING:
    from ..process.last_resort import LastResort

__all__ = ["Host", "ListenAddress", "SocketProvider"]


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A place to listen at: a resolved TCP address, or the path of a unix socket.

    :param family: `socket.AF_INET`, `AF_INET6` or `AF_UNIX`
    :param host: a numeric address; for a unix socket its path
    :param port: 0 for a port of the system's choice
    :param backlog: how many connections may wait to be accepted, see listen(2)
    :param mode: of a unix socket's file; None: as the umask says
    :param kind: `socket.SOCK_STREAM`, or `SOCK_DGRAM` for UDP
    """

    family: int
    host: str
    port: int = 0
    backlog: int = 2048
    mode: int | None = None
    kind: int = socket.SOCK_STREAM


class SocketProvider(Protocol):
    """Hands out listening sockets that somebody else owns and keeps (the supervisor)."""

    async def acquire(self, addresses: Sequence[ListenAddress]) -> list[socket.socket]:
        """Return a socket for each address.

        :raises OSError: one of them cannot be had
        """


@dataclass(slots=True)
class Host:
    """The process around a listener: what it lends, what it is told, and its terms."""

    observer: Observer = NULL_OBSERVER
    sockets: SocketProvider | None = None
    on_ready: Callable[[], None] = field(default=lambda: None)
    """Called once, when the listener is ready to take events."""
    signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    """Signals that begin a graceful shutdown; a second one ends it at once."""
    graceful_timeout: float = 30.0
    """Seconds that running events may take after a shutdown began."""
    drain_delay: float = 0.0
    """Seconds from a shutdown's beginning until nothing new is accepted."""
    slot: int = 0
    """The stable number of this worker, 0 to N - 1."""
    last_resort: LastResort | None = None
    """Ends the process when a stop takes too long; None: the process is the application's, which `run()` returns to."""
