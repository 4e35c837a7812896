"""The HTTP server of one process: its connections, what they share, and their end."""

from __future__ import annotations

import asyncio
import logging
import weakref
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..runner import Runners
from .connection import HTTPConnection
from .forwarded import Proxies
from .grammar import Grammar
from .lingering import Lingering
from .response import tick
from .routing import finder
from .usual import Way, general_way, usual_way

if TYPE_CHECKING:
    from ..listener import Listener
    from ..observer import HTTPSamples, Observer, RouteObserver
    from .answering import Answering
    from .request import Request
    from .response import Response
    from .settings import HTTPSettings

__all__ = ["HTTPServer"]

logger = logging.getLogger("tiny_listener")
access_logger = logging.getLogger("tiny_listener.access")

KEPT_GRACE = 1.0
"""Seconds that a connection in use has in a drain, from its last answer on, for a next request: that one's answer says
that it is the last. A client that sends while the server closes would get no answer at all (RFC 9112 section 9.6)."""
DRAIN_TICK = 0.1
"""Seconds between two looks in a drain."""
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
        self.scheme = "http" if settings.ssl_certfile is None else "https"
        """That of all its connections."""
        kind = settings.proxy_headers
        self.proxies = None if kind is None else Proxies(kind, settings.forwarded_allow_ips)
        """Whose word is taken for where requests come from."""
        self.loop = asyncio.get_running_loop()
        self.grammar = Grammar()
        self.connections: set[HTTPConnection] = set()
        self.handshaking: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        """Connections that TLS has not let through yet; of those that fail their handshake nothing more is heard."""
        self.lingering: set[Lingering] = set()
        """Connections that have their last response, and whose clients may still be sending."""
        self.draining = False
        self.in_hand = 0
        """Requests that were read and wait: for others before them, for their handlers, or for their clients."""
        self.limit_concurrency = settings.limit_concurrency
        self.runners = Runners(self.loop)
        self.run = self.runners.run
        self.hooks = listener.hooks
        self.observer: Observer = listener.host.observer
        self.access_log = settings.access_log
        self.arrived: list[tuple[HTTPConnection, bytes]] = []
        """What was received and not read yet; the first to put something in calls `will_work`."""
        self.samples: dict[RouteObserver, HTTPSamples] = {}
        """What the observers of routes are told before anything is written;"""
        self.missed: HTTPSamples = []
        """and the observer of the listener, of requests that no route serves."""
        self.answers: list[tuple[HTTPConnection, bytes | list[bytes]]] = []
        """What the usual way has to write, before anything that connections have."""
        self.ending: list[asyncio.Transport] = []
        """What is to be closed when these are written."""
        self.find_event = finder(listener)
        simple = not settings.access_log and settings.limit_concurrency is None and not listener.hooks.watchers
        self.serve: Way = usual_way(self) if simple else general_way
        self._will_flush = False
        self.working = False
        """Whether this is within `work`, which writes in the end."""
        self.unwritten: list[Answering] = []
        """Connections that have something to write."""
        self.now = self.loop.time()
        """The loop's clock, as of the last sweep: exact enough for limits of seconds, and costs nothing."""
        self._drained: asyncio.Future[None] | None = None
        times = (
            settings.header_timeout,
            settings.body_timeout,
            settings.keep_alive_timeout,
            settings.write_timeout,
            settings.linger_time,
            settings.linger_timeout,
        )
        self._period = max(0.01, min(1.0, min(times) / 4))
        self._sweeper = self.loop.call_later(self._period, self._sweep)
        self._drainer: asyncio.TimerHandle | None = None

    def __call__(self) -> HTTPConnection:
        """Make the protocol of a new connection."""
        connection = HTTPConnection(self)
        if self.scheme == "https":
            self.handshaking.add(connection)
        return connection

    def log_access(self, request: Request, response: Response, seconds: float) -> None:
        """Write the access log's line of one response."""
        client = "{}:{}".format(*request.client) if request.client else "-"
        trace = request.trace
        access_logger.info(
            '%s - "%s %s HTTP/%s" %d %s %.1fms',
            client,
            request.method,
            request.target,
            request.http_version,
            response.status,
            HTTPStatus(response.status).phrase if response.status in HTTPStatus._value2member_map_ else "",
            seconds * 1000,
            extra={
                "client": client,
                "method": request.method,
                "target": request.target,
                "status": response.status,
                "duration": round(seconds, 6),
                **({"trace_id": trace.trace_id, "parent_id": trace.parent_id} if trace is not None else {}),
            },
        )

    def connection_closed(self) -> None:
        """A connection ended."""
        if self._drained is not None and not self._is_busy and not self._drained.done():
            self._drained.set_result(None)

    @property
    def _is_busy(self) -> bool:
        return bool(self.connections or self.lingering or self.handshaking)

    def lingers(self, connection: HTTPConnection, lingering: Lingering) -> None:
        """A connection has its last response; what takes its place reads what its client may still send."""
        self.connections.discard(connection)
        self.lingering.add(lingering)

    # --- a turn of the loop: all that can be read is read, then answered, then written -----------

    # PERF: a system call leaves cold caches behind. Between two of them the same Python takes two to three times
    # as long as it does for one request after the other; and a client that is woken once reads many responses.

    def will_work(self) -> None:
        """Let connections read at the end of this turn of the loop."""
        self.loop.call_soon(self.work)

    def work(self) -> None:
        """Let the connections read what arrived, and write what they have."""
        if self.arrived:
            arrived = self.arrived.copy()
            self.arrived.clear()
            self.working = True
            self.runners.enter()
            try:
                self.serve(arrived)
            finally:
                self.runners.leave()
                self.working = False
        self._flush()

    def will_flush(self) -> None:
        """Let connections write at the end of this turn of the loop."""
        if not self._will_flush:
            self._will_flush = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._will_flush = False
        self.write_answers()
        connections, self.unwritten = self.unwritten, []
        for connection in connections:
            connection.flush()

    def write_answers(self) -> None:
        """Write the answers of the usual way."""
        answers = self.answers
        if not answers:
            return
        # Who sees an answer finds it counted.
        for observer, samples in self.samples.items():
            self.hooks.dispatched += len(samples)
            observer.http_events(samples)
        self.samples.clear()
        if self.missed:
            self.observer.http_not_found(self.missed)
            self.missed.clear()
        todo = answers.copy()
        answers.clear()
        for connection, data in todo:
            connection.transport.write(data if isinstance(data, bytes) else b"".join(data))
        if self.ending:
            ending, self.ending = self.ending, []
            for transport in ending:
                transport.close()

    def _sweep(self) -> None:
        tick()
        self.work()  # what arrived is no connection's idleness
        self.now = now = self.loop.time()
        for connection in list(self.connections):
            connection.check(now)
        for lingering in list(self.lingering):
            lingering.check(now)
        self._sweeper = self.loop.call_later(self._period, self._sweep)

    # --- as a source of events --------------------------------------------------------------------

    @property
    def open_connections(self) -> int:
        """See `Source`; with those whose client may still be sending after its last response."""
        return len(self.connections) + len(self.lingering)

    def drain(self) -> None:
        """Close connections that have been idle for a while, and every other with its last answer."""
        self.work()
        self.draining = True
        self.serve = general_way
        for connection in list(self.connections):
            connection.drain(before=self.now - 1.5 * self._period)  # stamps are those of a sweep
        self._drain_rest(self.loop.time())

    def _drain_rest(self, began: float) -> None:
        """Look again and again which connections have been idle for long enough by now."""
        self.work()  # what arrived is no connection's idleness
        self.now = now = self.loop.time()
        is_over = now - began > FRESH_GRACE
        if is_over:
            self.handshaking.clear()
        if now - began > KEPT_GRACE:  # stamps of before may be as old as the sweep before that
            for connection in list(self.connections):
                connection.drain(before=now - KEPT_GRACE - DRAIN_TICK, fresh=is_over)
        if is_over:
            self.connection_closed()
        self._drainer = self.loop.call_later(DRAIN_TICK, self._drain_rest, began)

    async def wait_drained(self) -> None:
        """Return when no connection is left."""
        if self._is_busy:
            self._drained = self.loop.create_future()
            await self._drained
        self._close()

    def abort(self) -> list[str]:
        """Drop all connections; return what was in hand."""
        self._close()
        for lingering in list(self.lingering):
            lingering.abort()
        return [connection.abort() for connection in list(self.connections)]

    def _close(self) -> None:
        self._sweeper.cancel()
        if self._drainer is not None:
            self._drainer.cancel()
        self.runners.close()
