"""Datagram endpoints at sockets that somebody else keeps: they can stop to read, and what waits is for the next.

uvloop's and asyncio's own read until they are closed, and cannot send any more from then on: an answer to what was read
before a drain would be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["DatagramEndpoint", "DatagramServer"]

MAX_SIZE = 65536
"""Bytes; no datagram of UDP is longer (RFC 768: a length of 16 bits)."""
BURST = 64
"""Datagrams that are read before others in the loop have their turn."""


class DatagramEndpoint(asyncio.DatagramTransport):
    """See `asyncio.DatagramTransport`.

    :param sock: bound, and ours to close
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.DatagramProtocol
    ) -> None:
        super().__init__({"socket": sock, "sockname": sock.getsockname(), "peername": None})
        sock.setblocking(False)  # noqa: FBT003
        self.is_reading = False
        self._loop = loop
        self._sock = sock
        self._protocol = protocol
        self._unsent: deque[tuple[bytes, Any]] = deque()
        self._closing = False

    def start(self) -> None:
        """Tell the protocol, and begin to read."""
        self._protocol.connection_made(self)
        if not self._closing:
            self.is_reading = True
            self._loop.add_reader(self._sock.fileno(), self._read)

    def pause_reading(self) -> None:
        """Read no more; sending goes on."""
        if self.is_reading:
            self.is_reading = False
            self._loop.remove_reader(self._sock.fileno())

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send a datagram; one that the system cannot take now is kept."""
        if self._closing:
            return
        if not self._unsent:
            try:
                self._sock.sendto(data, addr)
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._write)
            except OSError as exc:
                self._protocol.error_received(exc)
                return
            else:
                return
        self._unsent.append((bytes(data), addr))

    def is_closing(self) -> bool:
        """Whether it is closed, or will be when all is sent."""
        return self._closing

    def close(self) -> None:
        """Send what is kept, and close."""
        if not self._closing:
            self.pause_reading()
            self._closing = True
            if not self._unsent:
                self._loop.call_soon(self._end)

    def abort(self) -> None:
        """Close at once."""
        self._unsent.clear()
        self._loop.remove_writer(self._sock.fileno())
        self.close()

    def _read(self) -> None:
        for _ in range(BURST):
            if not self.is_reading:  # the protocol may have closed it
                return
            try:
                data, address = self._sock.recvfrom(MAX_SIZE)
            except BlockingIOError:
                return
            except OSError as exc:
                self._protocol.error_received(exc)
                return
            self._protocol.datagram_received(data, address)

    def _write(self) -> None:
        while self._unsent:
            try:
                self._sock.sendto(*self._unsent[0])
            except BlockingIOError:
                return
            except OSError as exc:
                self._protocol.error_received(exc)
            self._unsent.popleft()
        self._loop.remove_writer(self._sock.fileno())
        if self._closing:
            self._end()

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.close()
        self._protocol.connection_lost(None)


class DatagramServer:
    """An endpoint behind the face of a server, for whoever drains or gives back what was lent."""

    def __init__(self, endpoint: DatagramEndpoint) -> None:
        self._endpoint = endpoint

    @classmethod
    def open(
        cls, loop: asyncio.AbstractEventLoop, sock: socket.socket, factory: Callable[[], asyncio.DatagramProtocol]
    ) -> tuple[DatagramServer, DatagramEndpoint, asyncio.DatagramProtocol]:
        """Open an endpoint at a socket."""
        protocol = factory()
        endpoint = DatagramEndpoint(loop, sock, protocol)
        endpoint.start()
        return cls(endpoint), endpoint, protocol

    def is_serving(self) -> bool:
        """Whether it reads."""
        return self._endpoint.is_reading

    def close(self) -> None:
        """Read no more; what runs may still answer."""
        self._endpoint.pause_reading()

    async def wait_closed(self) -> None:
        """Close the endpoint: whoever waits has nothing in hand any more."""
        self._endpoint.close()
