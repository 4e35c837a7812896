"""The end of a connection whose client may still be sending (RFC 9112 section 9.6).

A socket that is closed while bytes are unread, or still come, is reset by the kernel, and a reset takes from the client
what it has not read yet: the very response that says what was wrong. So the server closes its own side first and
reads on, throwing away what comes, until the client has closed its side, or for a while. As nginx and Apache do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .connection import HTTPConnection
    from .server import HTTPServer

__all__ = ["MAX_DISCARDED", "Lingering", "linger"]

MAX_DISCARDED = 64 * 1024 * 1024
"""Bytes that are read over: four times the longest body that is taken by default. nginx and Apache limit time alone;
but time is no limit to a client on the same machine."""


def linger(connection: HTTPConnection, server: HTTPServer, transport: Any) -> None:
    """Close a connection to which everything is written, and let its client read that.

    :param connection: the transport's protocol; it hears of nothing any more
    """
    if transport.is_closing() or transport.get_protocol() is not connection:
        return
    if not transport.can_write_eof():  # TLS has no half-closed connections
        transport.close()
        return
    lingering = Lingering(server, transport)
    transport.set_protocol(lingering)
    server.lingers(connection, lingering)
    transport.resume_reading()
    try:
        transport.write_eof()
    except OSError:  # it was reset
        transport.abort()


class Lingering(asyncio.Protocol):
    """What follows an `HTTPConnection`: it reads and forgets, within the limits of the server's settings."""

    __slots__ = ("_discarded", "_last_read", "_server", "_since", "_transport", "_unsent")

    def __init__(self, server: HTTPServer, transport: Any) -> None:
        self._server = server
        self._transport = transport
        self._since = self._last_read = server.now
        self._unsent: int = transport.get_write_buffer_size()
        self._discarded = 0

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._last_read = self._server.now
        self._discarded += len(data)
        if self._discarded > MAX_DISCARDED:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._server.lingering.discard(self)
        self._server.connection_closed()

    def check(self, now: float) -> None:
        """Enforce the limits of time; called about once a second."""
        settings, unsent = self._server.settings, self._transport.get_write_buffer_size()
        if unsent:  # the client still reads: the time to linger begins when all of it is sent
            if unsent != self._unsent:
                self._since, self._unsent = now, unsent
            if now - self._since > settings.write_timeout:
                self._transport.abort()
            return
        if self._unsent:
            self._since, self._last_read, self._unsent = now, now, 0
        limit = settings.linger_timeout if self._server.draining else settings.linger_time
        if now - self._since > limit or now - self._last_read > settings.linger_timeout:
            self._transport.abort()

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()
