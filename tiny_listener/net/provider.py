"""The protocol by which a loop asks for listening sockets instead of binding its own."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ListenAddress", "SocketProvider"]


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address to listen on: a resolved TCP address, or the path of a unix socket.

    :param family: `socket.AF_INET`, `AF_INET6` or `AF_UNIX`
    :param host: a numeric address; for a unix socket its path
    :param port: 0: chosen by the system
    :param backlog: maximum number of connections that wait to be accepted, see listen(2)
    :param mode: permissions of a unix socket's file; None: determined by the umask
    :param kind: `socket.SOCK_STREAM`, or `SOCK_DGRAM` for UDP
    """

    family: int
    host: str
    port: int = 0
    backlog: int = 2048
    mode: int | None = None
    kind: int = socket.SOCK_STREAM


class SocketProvider(Protocol):
    """Provides listening sockets that belong to another process (the supervisor)."""

    async def acquire(self, addresses: Sequence[ListenAddress]) -> list[socket.socket]:
        """Return a socket for each address.

        :raises OSError: one of them is not available
        """
