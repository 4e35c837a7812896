"""How many clients the admin endpoint has at once, and which has to go when another comes.

Anybody who reaches its port can hold a connection open, without a token. Such connections must neither use up the file
descriptors of a supervisor, which needs some for each worker that it forks, nor keep others out. So there are few at a
time, some descriptors are kept back, and the client that has done nothing for longest makes room for the next.
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

MOST = 64
"""Connections at once."""
KEPT_BACK = 32
"""File descriptors that connections leave free: a worker that is forked takes about ten."""
AT_ONCE = 1
"""Connections that asyncio accepts in an iteration of its loop: it calls that number the backlog. So whoever comes is
read before many others have come."""
QUEUE = 32
"""Connections that wait in the kernel meanwhile (listen(2))."""
NO_LIMIT = 1 << 30
"""More descriptors than any process may have; RLIM_INFINITY is -1."""
DESCRIPTORS = "/proc/self/fd"
CROWD_SETTINGS = HTTPSettings(
    backlog=AT_ONCE,
    header_timeout=5.0,
    body_timeout=5.0,
    keep_alive_timeout=10.0,
    write_timeout=10.0,
    linger_time=5.0,
    linger_timeout=2.0,
    max_headers=16 * 1024,
    max_body=64 * 1024,
)
"""Limits for clients that ask for a page now and then, and send nothing but heads."""


def first_to_go(clients: Sequence[tuple[bool, float]]) -> int:
    """Return which of several clients makes room: the longest idle one; who waits for an answer only if all do.

    :param clients: of each whether it waits for us, and since when it has completed nothing; the eldest first
    """
    return min(range(len(clients)), key=lambda place: clients[place])


def room(limit: int, others: int) -> int:
    """Return how many connections there may be.

    :param limit: file descriptors that this process may have (RLIMIT_NOFILE)
    :param others: those that it has, beside the connections
    """
    return max(1, min(MOST, limit - min(KEPT_BACK, limit // 2) - others))


class AdminServer(HTTPServer):
    """An HTTP server with few connections at once."""

    def __init__(self, listener: Listener[Any], settings: HTTPSettings) -> None:
        super().__init__(listener, settings)
        self._eldest_first: list[HTTPConnection] = []
        self._looked_at = 0.0
        self._others = 0

    def __call__(self) -> HTTPConnection:
        """See `HTTPServer`."""
        return _Client(self)

    def welcome(self, new: HTTPConnection) -> None:
        """A client has come: make room, if need be."""
        self._eldest_first = [one for one in self._eldest_first if one in self.connections]
        self._eldest_first.append(new)
        while len(self._eldest_first) > self._room():
            others = self._eldest_first[:-1]
            gone = others[first_to_go([(_waits_for_us(one), _idle_since(one)) for one in others])]
            self._eldest_first.remove(gone)
            gone.abort()

    def _room(self) -> int:
        if self._looked_at != self.now:  # PERF: not for each who comes, where there are many descriptors
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
    # Who sends a head byte by byte is active all the time, and has asked for nothing.
    return client.intake.head_since if client.state is State.HEAD else client.last_active


def count_descriptors() -> int:
    """Return how many file descriptors this process has; 0 where nothing tells."""
    try:
        # The number itself from Linux 6.2 on (proc_pid_fd(5)).
        return os.stat(DESCRIPTORS).st_size or len(os.listdir(DESCRIPTORS))
    except OSError:
        return 0


def deepen_queue(sockets: Sequence[socket.socket]) -> None:
    """Let more connections wait in the kernel's queue than are accepted at once."""
    for sock in sockets:
        with socket.socket(fileno=os.dup(sock.fileno())) as copy:
            copy.listen(QUEUE)
