"""Datagram endpoints at sockets that somebody else keeps: they can stop to read, and what waits is for the next.

uvloop's and asyncio's own read until they are closed, and cannot send any more from then on: an answer to what was read
before a drain would be lost.

An application has one transport and one protocol for each endpoint that it opened. What a sibling's socket receives,
while that is lent, comes to the same protocol; what the application sends leaves by its own socket. All workers'
sockets of one address have one name, so no client can tell, and a loan that ends takes nothing from the application.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["DatagramEndpoint", "DatagramServer", "LentDatagrams"]

MAX_SIZE = 65536
"""Bytes; no datagram of UDP is longer (RFC 768: a length of 16 bits)."""
MAX_UNIX_SIZE = 1 << 20
"""Bytes; the kernel makes none of a unix socket longer: 17 pieces (MAX_SKB_FRAGS) of 32 KiB."""
BURST = 64
"""Datagrams that are read before others in the loop have their turn."""
HIGH_WATER = 64 * 1024
"""Unsent bytes above which the protocol is told to pause, as asyncio has it; at a quarter it may go on."""


class _Reading:
    """Reads a socket's datagrams while it is asked to, for whoever takes them.

    :param sock: does not block
    :param take: called with data and address of each
    :param failed: called with what is wrong when one cannot be read
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        take: Callable[[bytes, Any], None],
        failed: Callable[[OSError], None],
    ) -> None:
        sock.setblocking(False)  # noqa: FBT003
        self.is_on = False
        self._loop = loop
        self._sock = sock
        self._take = take
        self._failed = failed
        self._size = MAX_UNIX_SIZE if sock.family == socket.AF_UNIX else MAX_SIZE

    def start(self) -> None:
        """Read from now on."""
        self.is_on = True
        self._loop.add_reader(self._sock.fileno(), self._read)

    def stop(self) -> None:
        """Read no more; what waits stays in the socket."""
        if self.is_on:
            self.is_on = False
            self._loop.remove_reader(self._sock.fileno())

    def _read(self) -> None:
        if (stir := getattr(self._loop, "stir", None)) is not None:
            stir()
        for _ in range(BURST):
            if not self.is_on:  # whoever takes them may have stopped it
                return
            try:
                data, address = self._sock.recvfrom(self._size)
            except BlockingIOError:
                return
            except OSError as exc:
                self._failed(exc)
                return
            self._take(data, address)


class DatagramEndpoint(asyncio.DatagramTransport):
    """See `asyncio.DatagramTransport`.

    :param sock: bound, and ours to close
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.DatagramProtocol
    ) -> None:
        super().__init__({"socket": sock, "sockname": sock.getsockname(), "peername": None})
        self._loop = loop
        self._sock = sock
        self._protocol = protocol
        self._reading = _Reading(loop, sock, self.take, self.failed)
        self.lent: set[LentDatagrams] = set()
        """Siblings' sockets that are read for it."""
        self._unsent: deque[tuple[bytes, Any]] = deque()
        self._unsent_bytes = 0
        self._low, self._high = HIGH_WATER // 4, HIGH_WATER
        self._told_to_pause = False
        self._closing = False
        self._ended = False

    @property
    def is_reading(self) -> bool:
        """Whether datagrams are taken in, of its own socket and of those lent to it."""
        return self._reading.is_on

    def start(self) -> None:
        """Tell the protocol, and begin to read."""
        self._protocol.connection_made(self)
        if not self._closing:
            self._reading.start()

    def pause_reading(self) -> None:
        """Read no more, siblings' sockets neither; sending goes on."""
        self._reading.stop()
        for lent in self.lent:
            lent.close()

    def take(self, data: bytes, address: Any) -> None:
        """Hand the protocol a datagram, of whichever socket."""
        self._protocol.datagram_received(data, address)

    def failed(self, exc: OSError) -> None:
        """Tell the protocol what is wrong."""
        self._protocol.error_received(exc)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See `asyncio.BaseTransport.get_protocol`."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See `asyncio.BaseTransport.set_protocol`."""
        self._protocol = protocol  # type: ignore[assignment]

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are kept, for the system cannot take them now."""
        return self._unsent_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the bytes below and above which the protocol may go on, and is told to pause."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.WriteTransport.set_write_buffer_limits`.

        :raises ValueError: not 0 <= low <= high
        """
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"0 <= low <= high is not so: low is {low}, high is {high}")
        self._low, self._high = low, high
        self._tell_about_pressure()

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send a datagram; one that the system cannot take now is kept."""
        if self._closing:
            return
        if not self._unsent:
            try:
                self._send(data, addr)
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._write)
            except OSError as exc:
                self.failed(exc)
                return
            else:
                return
        self._unsent.append((bytes(data), addr))
        self._unsent_bytes += len(data)
        self._tell_about_pressure()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be when all is sent."""
        return self._closing

    def close(self) -> None:
        """Send what is kept, and close."""
        if not self._closing:
            self.pause_reading()
            self._closing = True
            if not self._unsent:
                self._end_soon()

    def abort(self) -> None:
        """Close at once."""
        self.close()
        if self._unsent:
            self._unsent.clear()
            self._unsent_bytes = 0
            self._loop.remove_writer(self._sock.fileno())
            self._end_soon()

    def _send(self, data: Any, addr: Any) -> None:
        if addr is None:  # the application connected the socket; otherwise EDESTADDRREQ
            self._sock.send(data)
        else:
            self._sock.sendto(data, addr)

    def _write(self) -> None:
        while self._unsent:
            data, addr = self._unsent[0]
            try:
                self._send(data, addr)
            except BlockingIOError:
                break
            except OSError as exc:
                self._sent(data)
                self.failed(exc)
            else:
                self._sent(data)
        self._tell_about_pressure()
        if not self._unsent and not self._ended:
            self._loop.remove_writer(self._sock.fileno())
            if self._closing:
                self._end_soon()

    def _sent(self, data: bytes) -> None:
        self._unsent.popleft()
        self._unsent_bytes -= len(data)

    def _tell_about_pressure(self) -> None:
        if not self._told_to_pause and self._unsent_bytes > self._high:
            self._told_to_pause = True
            self._protocol.pause_writing()
        elif self._told_to_pause and self._unsent_bytes <= self._low:
            self._told_to_pause = False
            self._protocol.resume_writing()

    def _end_soon(self) -> None:
        self._ended = True
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.close()
        self._protocol.connection_lost(None)


class DatagramServer:
    """An endpoint behind the face of a server, for whoever drains it."""

    def __init__(self, endpoint: DatagramEndpoint) -> None:
        self.endpoint = endpoint

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
        return self.endpoint.is_reading

    def close(self) -> None:
        """Read no more; what runs may still answer."""
        self.endpoint.pause_reading()

    async def wait_closed(self) -> None:
        """Close the endpoint: whoever waits has nothing in flight any more."""
        self.endpoint.close()


class LentDatagrams:
    """A sibling's socket, whose datagrams an endpoint of ours takes while that is lent; behind the face of a server.

    :param sock: a copy, and ours to close
    :param endpoint: at our own socket of the same name
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, endpoint: DatagramEndpoint) -> None:
        self._sock = sock
        self._endpoint = endpoint
        self._reading = _Reading(loop, sock, endpoint.take, endpoint.failed)
        endpoint.lent.add(self)
        self._reading.start()

    def is_serving(self) -> bool:
        """Whether it is read."""
        return self._reading.is_on

    def close(self) -> None:
        """Read no more; what waits there is for whoever has the socket."""
        self._reading.stop()

    async def wait_closed(self) -> None:
        """Close the copy: nothing is ever sent by it."""
        self._reading.stop()
        self._endpoint.lent.discard(self)
        self._sock.close()
