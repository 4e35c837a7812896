"""Datagram endpoints whose sockets stay open elsewhere: they can stop reading, and waiting datagrams are left for the
next reader.

Those of uvloop and asyncio read until they are closed, and cannot send after that: an answer to a datagram that was
read before a drain would be lost.

An application has one transport and one protocol for each endpoint that it opened. While a sibling's socket is taken
over, its datagrams are passed to the same protocol; what the application sends leaves through its own socket. All
workers' sockets of one address have the same name, so clients see no difference, and handing the socket back takes
nothing away from the application.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["DatagramEndpoint", "DatagramServer", "TakenOverDatagrams"]

MAX_SIZE = 65536
"""Bytes; UDP datagrams cannot be longer (RFC 768: a length of 16 bits)."""
MAX_UNIX_SIZE = 1 << 20
"""Bytes; the kernel's limit for datagrams of unix sockets: 17 pieces (MAX_SKB_FRAGS) of 32 KiB."""
BURST = 64
"""Datagrams that are read before other callbacks of the loop run."""
HIGH_WATER = 64 * 1024
"""Unsent bytes above which the protocol is told to pause, as in asyncio; it resumes at a quarter."""


class _Reading:
    """Reads the datagrams of a socket while it is active.

    :param sock: does not block
    :param take: called with data and address of each
    :param failed: called with the error if one cannot be read
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
        """Start reading."""
        self.is_on = True
        self._loop.add_reader(self._sock.fileno(), self._read)

    def stop(self) -> None:
        """Stop reading; waiting datagrams stay in the socket."""
        if self.is_on:
            self.is_on = False
            self._loop.remove_reader(self._sock.fileno())

    def _read(self) -> None:
        if (on_activity := getattr(self._loop, "on_activity", None)) is not None:
            on_activity()
        for _ in range(BURST):
            if not self.is_on:  # the callback may have stopped it
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
        self.taken_over: set[TakenOverDatagrams] = set()
        """Siblings' sockets that were taken over for it."""
        self._unsent: deque[tuple[bytes, Any]] = deque()
        self._unsent_bytes = 0
        self._low, self._high = HIGH_WATER // 4, HIGH_WATER
        self._told_to_pause = False
        self._closing = False
        self._ended = False

    @property
    def is_reading(self) -> bool:
        """Whether datagrams are read, from its own socket and from those taken over for it."""
        return self._reading.is_on

    def start(self) -> None:
        """Notify the protocol, and start reading."""
        self._protocol.connection_made(self)
        if not self._closing:
            self._reading.start()

    def pause_reading(self) -> None:
        """Stop reading, siblings' sockets included; sending remains possible."""
        self._reading.stop()
        for other in self.taken_over:
            other.close()

    def take(self, data: bytes, address: Any) -> None:
        """Pass a datagram from any of the sockets to the protocol."""
        self._protocol.datagram_received(data, address)

    def failed(self, exc: OSError) -> None:
        """Report an error to the protocol."""
        self._protocol.error_received(exc)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See `asyncio.BaseTransport.get_protocol`."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See `asyncio.BaseTransport.set_protocol`."""
        self._protocol = protocol  # type: ignore[assignment]

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that are buffered because the system cannot take them now."""
        return self._unsent_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the numbers of bytes below which the protocol resumes, and above which it is told to pause."""
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
            raise ValueError(f"0 <= low <= high is required: low is {low}, high is {high}")
        self._low, self._high = low, high
        self._tell_about_pressure()

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send a datagram; buffer it if the system cannot take it now."""
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
        """Whether it is closed, or closes once everything is sent."""
        return self._closing

    def close(self) -> None:
        """Send what is buffered, and close."""
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
        if addr is None:  # valid if the application connected the socket; otherwise EDESTADDRREQ
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
    """An endpoint with the interface of a server, so that it can be drained."""

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
        """Stop reading; running handlers may still answer."""
        self.endpoint.pause_reading()

    async def wait_closed(self) -> None:
        """Close the endpoint: the caller has nothing in flight any more."""
        self.endpoint.close()


class TakenOverDatagrams:
    """A sibling's socket that was taken over: its datagrams go to an endpoint of ours. It has the interface of a
    server.

    :param sock: a copy, and ours to close
    :param endpoint: at our own socket with the same name
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, endpoint: DatagramEndpoint) -> None:
        self._sock = sock
        self._endpoint = endpoint
        self._reading = _Reading(loop, sock, endpoint.take, endpoint.failed)
        endpoint.taken_over.add(self)
        self._reading.start()

    def is_serving(self) -> bool:
        """Whether it reads."""
        return self._reading.is_on

    def close(self) -> None:
        """Stop reading; waiting datagrams are left to the owner of the socket."""
        self._reading.stop()

    async def wait_closed(self) -> None:
        """Close the copy: nothing is ever sent through it."""
        self._reading.stop()
        self._endpoint.taken_over.discard(self)
        self._sock.close()
