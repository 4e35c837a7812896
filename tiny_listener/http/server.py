"""The HTTP server of one process: its connections, what they share, and their end."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..runner import Runners
from .connection import HTTPConnection
from .routing import Refusal, find_event

if TYPE_CHECKING:
    from ..event import Event
    from ..listener import Listener
    from ..observer import Observer
    from .request import Request
    from .response import Response
    from .settings import HTTPSettings

__all__ = ["HTTPServer"]

access_logger = logging.getLogger("tiny_listener.access")

FRESH_GRACE = 2.0
"""Seconds that a new connection has, once a drain began, to send the request that it was opened for."""


class HTTPServer:
    """A source of events: the HTTP connections of one listener.

    :param listener: whose routes serve the requests
    :param settings: limits and times
    """

    def __init__(self, listener: Listener[Any], settings: HTTPSettings) -> None:
        self.listener = listener
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.connections: set[HTTPConnection] = set()
        self.draining = False
        self.in_hand = 0
        """Requests that were read and are not answered yet."""
        self.find = self._find if settings.limit_concurrency is None else self._find_within_limit
        """Returns the event that a request stands for, or the reason why there is none."""
        self.runners = Runners(self.loop)
        self._unwritten: list[HTTPConnection] = []
        self.now = self.loop.time()
        """The loop's clock, as of the last sweep: exact enough for limits of seconds, and costs nothing."""
        self._drained: asyncio.Future[None] | None = None
        times = (
            settings.header_timeout,
            settings.body_timeout,
            settings.keep_alive_timeout,
            settings.write_timeout,
        )
        self._period = max(0.01, min(1.0, min(times) / 4))
        self._sweeper = self.loop.call_later(self._period, self._sweep)

    def __call__(self) -> HTTPConnection:
        """Make the protocol of a new connection."""
        return HTTPConnection(self)

    @property
    def observer(self) -> Observer:
        """Who is told of responses that no route made."""
        return self.listener.host.observer

    def _find(self, request: Request) -> Event[Any] | Refusal:
        return find_event(request, self.listener, self.settings)

    def _find_within_limit(self, request: Request) -> Event[Any] | Refusal:
        limit = self.settings.limit_concurrency
        if limit is not None and self.in_hand >= limit:
            return Refusal(503, f"{limit} requests are in hand already", close=True)
        return self._find(request)

    def log_access(self, request: Request, response: Response, seconds: float) -> None:
        """Write the access log's line of one response."""
        client = "{}:{}".format(*request.client) if request.client else "-"
        # What the client sent may hold control characters: the log shows them escaped.
        target = request.target.decode("latin-1").encode("unicode_escape").decode("ascii")
        access_logger.info(
            '%s - "%s %s HTTP/%s" %d %s %.1fms',
            client,
            request.method,
            target,
            request.http_version,
            response.status,
            HTTPStatus(response.status).phrase if response.status in HTTPStatus._value2member_map_ else "",
            seconds * 1000,
        )

    def connection_closed(self) -> None:
        """A connection ended."""
        if self._drained is not None and not self.connections and not self._drained.done():
            self._drained.set_result(None)

    def will_flush(self, connection: HTTPConnection) -> None:
        """Let a connection write at the end of this turn of the loop."""
        if not self._unwritten:
            self.loop.call_soon(self._flush)
        self._unwritten.append(connection)

    def _flush(self) -> None:
        connections, self._unwritten = self._unwritten, []
        for connection in connections:
            connection.flush()

    def _sweep(self) -> None:
        self.now = now = self.loop.time()
        for connection in list(self.connections):
            connection.check(now)
        self._sweeper = self.loop.call_later(self._period, self._sweep)

    # --- as a source of events --------------------------------------------------------------------

    def drain(self) -> None:
        """Close idle connections, and every other with its last answer."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()
        self.loop.call_later(FRESH_GRACE, self._drain_fresh)

    def _drain_fresh(self) -> None:
        for connection in list(self.connections):
            connection.drain(fresh=True)

    async def wait_drained(self) -> None:
        """Return when no connection is left."""
        if self.connections:
            self._drained = self.loop.create_future()
            await self._drained
        self._close()

    def abort(self) -> list[str]:
        """Drop all connections; return what was in hand."""
        self._close()
        return [connection.abort() for connection in list(self.connections)]

    def _close(self) -> None:
        self._sweeper.cancel()
        self.runners.close()
