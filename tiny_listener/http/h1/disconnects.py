"""The departure of a client, as those see it who wait for it: handlers, and streams that nobody may be reading."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .states import State

if TYPE_CHECKING:
    from .connection import HTTPConnection

__all__ = ["Departure"]

GONE_GRACE = 0.5
"""Seconds that a stream may wait for its next piece once the client has closed its side. Such a client may still read;
but most are gone, and TCP cannot tell before the next byte is sent."""


class Departure:
    """Waits for the client of one connection to go."""

    __slots__ = ("_connection", "_piece_at", "_waiters", "has_left")

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self._waiters: list[asyncio.Future[None]] = []
        self.has_left = False
        """Whether the client is known to have closed its side, though what it sent before was not read yet."""
        self._piece_at: float | None = None  # when a stream last had a piece, once the client has closed its side

    async def wait(self) -> None:
        """Return when the client has closed its side, or the connection is lost."""
        waiter = self._connection.server.loop.create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def tell(self) -> None:
        """The client has closed its side, or the connection is lost."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def watch_stream(self) -> None:
        """The client has closed its side while a response is streamed: cancel that, once it waits for too long."""
        self._piece_at = self._connection.server.loop.time()
        self._look()

    def stream_progressed(self) -> None:
        """The stream had a piece."""
        if self._piece_at is not None:
            self._piece_at = self._connection.server.loop.time()

    def _look(self) -> None:
        connection = self._connection
        exchange = connection.pipeline.exchange
        is_streaming = exchange is not None and connection.state is State.STREAMING and not connection.is_lost
        if exchange is None or not is_streaming or self._piece_at is None:
            self._piece_at = None
            return
        loop = connection.server.loop
        left = self._piece_at + GONE_GRACE - loop.time()
        if left > 0 or connection.is_blocked:  # a client that takes nothing has a limit of its own
            loop.call_later(max(left, GONE_GRACE / 4), self._look, context=connection.server.context)
        else:
            exchange.cancel_response()
