"""Detects the disconnect of a client, for handlers that wait for it and for streams that the client may not read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .states import State

if TYPE_CHECKING:
    from .connection import HTTPConnection
    from .exchanges.exchange import Exchange

__all__ = ["Departure"]

GONE_GRACE = 0.5
"""Seconds that a stream may wait for its next piece after the client has closed its side. The client may still read,
but most are gone, and TCP cannot tell until the next byte is sent."""


class Departure:
    """The waiters for the disconnect of one client."""

    __slots__ = ("_cancels", "_connection", "_piece_at", "_waiters", "has_left")

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self._waiters: list[asyncio.Future[None]] = []
        self._cancels: Exchange | None = None  # the request whose handler ends with its client
        self.has_left = False
        """Whether the client is known to have closed its side while its input is not fully read."""
        self._piece_at: float | None = None  # time of the stream's last piece, once the client has closed its side

    async def wait(self) -> None:
        """Wait until the client closes its side or the connection is lost."""
        waiter = self._connection.server.loop.create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def will_cancel(self, exchange: Exchange) -> None:
        """Cancel the handler of a request once its client has disconnected."""
        self._cancels = exchange
        if self._connection.is_disconnected:
            self.tell()

    def tell(self) -> None:
        """Wake the waiters: the client has closed its side, or the connection is lost."""
        exchange, self._cancels = self._cancels, None
        if exchange is not None and exchange is self._connection.pipeline.exchange and not exchange.is_streaming:
            exchange.cancel()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def watch_stream(self) -> None:
        """Cancel the streamed response once it waits too long for its next piece, or for a hook: the client has closed
        its side.
        """
        self._piece_at = self._connection.server.loop.time()
        self._look()

    def stream_progressed(self) -> None:
        """The stream has produced a piece."""
        if self._piece_at is not None:
            self._piece_at = self._connection.server.loop.time()

    def _look(self) -> None:
        connection = self._connection
        exchange = connection.pipeline.exchange
        if (
            exchange is None
            or not (connection.state is State.STREAMING or exchange.hooks is not None)
            or connection.is_lost
            or self._piece_at is None
        ):
            self._piece_at = None
            return
        loop = connection.server.loop
        left = self._piece_at + GONE_GRACE - loop.time()
        if left > 0 or connection.is_blocked:  # `write_timeout` limits a client that does not read
            loop.call_later(max(left, GONE_GRACE / 4), self._look, context=connection.server.context)
        else:
            exchange.cancel_response()
