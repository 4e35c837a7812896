"""The requests of one connection: answered in their order, one `Exchange` at a time, while those behind it wait."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..routing import Refusal
from .exchange import Exchange
from .request import H1Request

if TYPE_CHECKING:
    from ...core.event import Event
    from ...process.task_pool import Suspended
    from .connection import HTTPConnection

__all__ = ["MAX_SHARED_TIME", "Pipeline"]

MAX_SHARED_TIME = 0.005
"""Seconds that the pipelined requests of one connection may take in a loop iteration."""


class Pipeline:
    """The requests that a connection has taken in."""

    __slots__ = ("_connection", "_queue", "exchange", "is_held", "takes_more")

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self._queue: list[tuple[H1Request, Event[Any] | Refusal]] = []  # a deque takes 600 bytes
        self.exchange: Exchange | None = None
        """The request in flight."""
        self.takes_more = True
        """Whether requests are taken in; otherwise what comes is discarded."""
        self.is_held = False
        """Whether somebody settles the connection's state in the end; see `HTTPConnection.settle`."""

    def __len__(self) -> int:
        """Return how many requests wait behind the one in flight."""
        return len(self._queue)

    @property
    def is_last(self) -> bool:
        """Whether the response that is about to be written is the connection's last."""
        return not self._queue and (not self.takes_more or not self._connection.server.keeps_alive)

    def put(self, request: H1Request, target: Event[Any] | Refusal) -> None:
        """Take a request in, to be answered by `answer`."""
        self._queue.append((request, target))

    def refuse(self, status: int, detail: str, method: str = "") -> None:
        """Queue a last response that no request stands behind, and take in no further."""
        request = H1Request(method, "", 1, b"")
        request.connection = self._connection
        request.started = perf_counter()
        self._queue.append((request, Refusal(status, detail, close=True)))
        self.takes_more = False

    def answer(self) -> None:
        """Answer what waits, in order, until a request has to be waited for, or the connection has had its share of
        this loop iteration.
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
        """Make a request the one in flight; or its refusal, when as many are in flight as may be."""
        server = self._connection.server
        exchanges, limit = server.exchanges, server.limit_concurrency
        if limit is not None and len(exchanges) >= limit:
            target = Refusal(503, f"{len(exchanges)} requests are in flight already", close=True)
            self.take_no_more()
        exchange = self.exchange = Exchange(self._connection, request, target)
        exchanges.add(exchange)
        self._connection.handles()
        return exchange

    def suspended(self, request: H1Request, event: Event[Any], handler: Suspended) -> None:
        """The handler of a request that took the fast path has suspended; its task goes on with it."""
        exchange = self.begin(request, event)
        exchange.began = request.started
        exchange.wait_for(handler)

    def conclude(self, request: H1Request, event: Event[Any], value: Any, error: BaseException | None) -> None:
        """A request that took the fast path has a response that is not written there."""
        exchange = self.begin(request, event)
        exchange.began = request.started
        exchange.take_context()
        exchange.conclude(value, error)

    def resumed(self, value: Any, error: BaseException | None) -> None:
        """The handler of a request that took the fast path, which had suspended, has ended."""
        if self.exchange is not None:
            self.exchange.resumed(value, error)

    def take_no_more(self) -> None:
        """The response that is about to be written is the last: whatever else came is not answered."""
        self.takes_more = False
        self._queue.clear()

    def ended(self, exchange: Exchange) -> None:
        """The request in flight has its response, or will have none."""
        self.exchange = None
        self._connection.server.exchange_ended(exchange)
