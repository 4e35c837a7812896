"""The pipelined requests of one connection. They are answered in order, one `Exchange` at a time."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..routing import Refusal
from .exchanges.exchange import Exchange
from .exchanges.hooked import HookedExchange
from .request import H1Request

if TYPE_CHECKING:
    from ...core.event import Event
    from ...process.task_pool import Suspended
    from .connection import HTTPConnection

__all__ = ["MAX_SHARED_TIME", "Pipeline"]

MAX_SHARED_TIME = 0.005
"""Seconds that the pipelined requests of one connection may take in a loop iteration."""


class Pipeline:
    """The queued requests of a connection, and the one in flight."""

    __slots__ = ("_connection", "_queue", "_waiter", "exchange", "is_held", "takes_more")

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self._queue: list[tuple[H1Request, Event[Any] | Refusal]] = []  # a deque takes 600 bytes
        self._waiter: asyncio.Future[None] | None = None
        self.exchange: Exchange | None = None
        """The request in flight."""
        self.takes_more = True
        """Whether requests are accepted; otherwise input is discarded."""
        self.is_held = False
        """Whether the caller will call `HTTPConnection.settle`, so that nested calls must not."""

    def __len__(self) -> int:
        """Return the number of requests queued behind the one in flight."""
        return len(self._queue)

    @property
    def is_last(self) -> bool:
        """Whether the next response is the last of the connection."""
        return not self._queue and (not self.takes_more or not self._connection.server.keeps_alive)

    def is_last_response(self, request: H1Request) -> bool:
        """Whether the connection closes after the response to the request in flight."""
        if not request.keep_alive or self.is_last:
            return True
        body = request.arriving  # not asked for its body by 100 (Continue), the client may or may not send it
        return body is not None and body.expects_continue and not body.is_complete

    def put(self, request: H1Request, target: Event[Any] | Refusal) -> None:
        """Queue a request."""
        self._queue.append((request, target))

    def refuse(self, status: int, detail: str, method: str = "") -> None:
        """Queue an error response without a request as the last response, and accept no more requests."""
        request = H1Request(method, "", 1, b"")
        request.connection = self._connection
        request.started = perf_counter()
        self._queue.append((request, Refusal(status, detail, close=True)))
        self.takes_more = False

    def answer(self) -> None:
        """Answer the queued requests in order, until one suspends, writing is blocked, or the connection has used its
        share of this loop iteration.
        """
        if self.is_held:
            return
        self.is_held = True
        began = perf_counter()
        try:
            while self._queue and self.exchange is None and not self._connection.is_blocked:
                request, target = self._queue.pop(0)
                self.begin(request, target).handle()
                if self._queue and perf_counter() - began > MAX_SHARED_TIME:
                    break
        finally:
            self.is_held = False

    def begin(self, request: H1Request, target: Event[Any] | Refusal) -> Exchange:
        """Put a request in flight, or a refusal if `limit_concurrency` is reached."""
        server = self._connection.server
        exchanges, limit = server.exchanges, server.limit_concurrency
        if limit is not None and len(exchanges) >= limit:
            target = Refusal(503, f"{len(exchanges)} requests are in flight already", close=True)
            self.take_no_more()
        kind = HookedExchange if server.response_hooks.present else Exchange
        exchange = self.exchange = kind(self._connection, request, target)
        exchanges.add(exchange)
        self._connection.handles()
        return exchange

    def suspended(self, request: H1Request, event: Event[Any], handler: Suspended) -> None:
        """A handler has suspended on the fast path. Its task continues it."""
        exchange = self.begin(request, event)
        exchange.began = request.started
        exchange.wait_for(handler)

    def conclude(self, request: H1Request, event: Event[Any], value: Any, error: BaseException | None) -> None:
        """A handler has ended on the fast path, with a response that the fast path cannot write."""
        exchange = self.begin(request, event)
        exchange.began = request.started
        exchange.take_context()
        exchange.conclude(value, error)

    def resumed(self, value: Any, error: BaseException | None) -> None:
        """The handler that had suspended on the fast path has ended."""
        if self.exchange is not None:
            self.exchange.resumed(value, error)

    def take_no_more(self) -> None:
        """Make the next response the last: drop the queued requests and accept no more."""
        self.takes_more = False
        self._queue.clear()

    def ended(self, exchange: Exchange) -> None:
        """The request in flight was answered or dropped."""
        self.exchange = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._connection.server.exchange_ended(exchange)

    async def wait_ended(self) -> None:
        """Wait until the request in flight has ended, with the cleanup of its dependencies."""
        if self.exchange is not None:
            self._waiter = self._connection.server.loop.create_future()
            await self._waiter
