"""Limits the clients of the admin endpoint, and decides which one is disconnected when another connects.

Anyone who reaches the port can hold a connection open, without a token. Such connections must not exhaust the file
descriptors of the supervisor, which needs some for each fork, and must not lock other clients out. So the number of
connections is limited, some descriptors are reserved, and the client that has been idle longest is disconnected first.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tiny_listener.http.h1.connection import HTTPConnection
from tiny_listener.http.h1.server import HTTPServer
from tiny_listener.http.h1.states import State
from tiny_listener.http.settings import HTTPSettings

if TYPE_CHECKING:
    import asyncio

    from tiny_listener import Listener

__all__ = ["CROWD_SETTINGS", "AdminServer", "deepen_queue", "first_to_go", "room"]

MAX_CONNECTIONS = 64
"""Connections at the same time."""
RESERVED_FDS = 32
"""File descriptors that connections leave free: forking a worker takes about ten."""
ACCEPTS_PER_ITERATION = 1
"""Connections that asyncio accepts per loop iteration; it calls that number the backlog. So a new client is read before
many others are accepted."""
QUEUE = 32
"""Connections that wait in the kernel meanwhile (listen(2))."""
NO_LIMIT = 1 << 30
"""More descriptors than any process may have; RLIM_INFINITY is -1."""
DESCRIPTORS = "/proc/self/fd"
CROWD_SETTINGS = HTTPSettings(
    backlog=ACCEPTS_PER_ITERATION,
    header_timeout=5.0,
    body_timeout=5.0,
    keep_alive_timeout=10.0,
    write_timeout=10.0,
    linger_time=5.0,
    linger_timeout=2.0,
    max_headers=16 * 1024,
    max_body=64 * 1024,
)
"""Limits for clients that request a page now and then, and send no bodies."""


def first_to_go(clients: Sequence[tuple[bool, float]]) -> int:
    """Return the index of the client to disconnect: the longest idle one. One that waits for a response only if all do.

    :param clients: for each, whether it waits for a response, and since when it has completed nothing; the oldest first
    """
    return min(range(len(clients)), key=lambda place: clients[place])


def room(limit: int, others: int) -> int:
    """Return how many connections are allowed.

    :param limit: file descriptors that this process may have (RLIMIT_NOFILE)
    :param others: open file descriptors that are not connections
    """
    return max(1, min(MAX_CONNECTIONS, limit - min(RESERVED_FDS, limit // 2) - others))


class AdminServer(HTTPServer):
    """An HTTP server with a small limit of connections."""

    def __init__(self, listener: Listener[Any], settings: HTTPSettings) -> None:
        super().__init__(listener, settings)
        self._eldest_first: list[HTTPConnection] = []
        self._looked_at = 0.0
        self._others = 0

    def __call__(self) -> HTTPConnection:
        """See `HTTPServer`."""
        return _Client(self)

    def welcome(self, new: HTTPConnection) -> None:
        """A client connected: disconnect others if there are too many."""
        self._eldest_first = [one for one in self._eldest_first if one in self.connections]
        self._eldest_first.append(new)
        while len(self._eldest_first) > self._room():
            others = self._eldest_first[:-1]
            gone = others[first_to_go([(_waits_for_us(one), _idle_since(one)) for one in others])]
            self._eldest_first.remove(gone)
            gone.abort()

    def _room(self) -> int:
        if self._looked_at != self.now:  # PERF: not for every connection: there may be many descriptors
            self._looked_at = self.now
            self._others = count_descriptors() - len(self.connections)
        return room(resource.getrlimit(resource.RLIMIT_NOFILE)[0] % NO_LIMIT, self._others)


class _Client(HTTPConnection):
    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        server = self.server
        assert isinstance(server, AdminServer)
        server.welcome(self)


def _waits_for_us(client: HTTPConnection) -> bool:
    return client.state in (State.HANDLING, State.STREAMING) and not client.is_blocked


def _idle_since(client: HTTPConnection) -> float:
    # A client that sends a head byte by byte is active all the time, but has requested nothing.
    return client.intake.head_since if client.state is State.HEAD else client.last_active


def count_descriptors() -> int:
    """Return the number of open file descriptors of this process; 0 if it is unknown."""
    try:
        # The number itself from Linux 6.2 on (proc_pid_fd(5)).
        return os.stat(DESCRIPTORS).st_size or len(os.listdir(DESCRIPTORS))
    except OSError:
        return 0


def deepen_queue(sockets: Sequence[socket.socket]) -> None:
    """Let more connections wait in the kernel's queue than are accepted per loop iteration."""
    for sock in sockets:
        with socket.socket(fileno=os.dup(sock.fileno())) as copy:
            copy.listen(QUEUE)
