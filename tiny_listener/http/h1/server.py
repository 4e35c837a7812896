"""The HTTP server of one source: its connections, their shared state, and their drain."""

from __future__ import annotations

import asyncio
import logging
import weakref
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from ...process.safe_logging import log_safely
from ...process.task_pool import TaskPool
from ...process.ticks import call_at_next_tick
from ..access import AccessLog
from ..addons.response_hooks import NO_HOOKS, ResponseHooks
from ..forwarded import Proxies
from ..routing import Routing
from .connection import HTTPConnection
from .drain_schedule import FRESH_GRACE
from .fast_path import FastPath, serve_slowly
from .reading.grammar import Grammar
from .states import State
from .upkeep import enforce_limits, part
from .writing.outbox import Outbox
from .writing.wire import tick

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ...core.listener import Listener
    from ...core.observer import HTTPSamples, Observer, RouteObserver
    from ..settings import HTTPSettings
    from .exchanges.exchange import Exchange

__all__ = ["HTTPServer"]

logger = logging.getLogger("tiny_listener")

RESTING = 2.0
"""Seconds between two sweeps while there is no connection: no more wake-ups than the process has anyway."""
DRAIN_TICK = 0.1
"""Seconds between two passes over the idle connections in a drain."""


class HTTPServer:
    """The HTTP/1.1 connections of one source, their shared state, and their drain.

    :param listener: its routes serve the requests
    :param settings: limits and timeouts
    :raises WrongOptions: the format of the access log, or a trusted proxy, is invalid
    """

    # PERF: CPython keeps the attributes of an object with more than 30 of them in a dict.
    __slots__ = (
        "__weakref__",
        "_aside",
        "_drained",
        "_drainer",
        "_fast_path",
        "_owns_pool",
        "_period",
        "_plan_work",
        "_reading_on",
        "_rests",
        "_sweeper",
        "_will_work",
        "access_log",
        "arrived",
        "connections",
        "context",
        "draining",
        "exchanges",
        "grammar",
        "handshaking",
        "hooks",
        "keeps_alive",
        "life",
        "limit_concurrency",
        "listener",
        "loop",
        "missed",
        "now",
        "observer",
        "on_failure",
        "outbox",
        "pool",
        "proxies",
        "response_hooks",
        "routing",
        "samples",
        "scheme",
        "settings",
        "takes_fast_path",
    )

    def __init__(self, listener: Listener[Any], settings: HTTPSettings) -> None:
        self.listener = listener
        self.settings = settings
        self.scheme = "http" if settings.ssl_certfile is None else "https"
        """The scheme of all its connections."""
        kind = settings.proxy_headers
        self.proxies = None if kind is None else Proxies(kind, settings.forwarded_allow_ips)
        """The trusted proxies, whose forwarded headers are used; None: no headers are used."""
        self.loop = asyncio.get_running_loop()
        self.context = copy_context()
        """The context (contextvars) of work that concerns many connections."""
        self.grammar = Grammar()
        self.connections: set[HTTPConnection] = set()
        self.handshaking: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        """Connections in their TLS handshake. A weak set, because a failed handshake is never reported."""
        self.exchanges: set[Exchange] = set()
        """Requests in flight. Requests on the fast path begin and end within one call and are not included."""
        self.draining = False
        self.keeps_alive = settings.keep_alive_timeout > 0
        """Whether a connection stays open after its requests are answered."""
        self.limit_concurrency = settings.limit_concurrency
        shared = listener.event_pool.tasks
        self.pool = shared or TaskPool(self.loop)
        self._owns_pool = shared is None  # the listener does not run, as in a test client
        self.hooks = listener.hooks
        self.response_hooks: ResponseHooks = getattr(listener, "response_hooks", NO_HOOKS)
        """Hooks that see each response; with them each takes the slow path."""
        self.life = listener.lifecycle
        self.observer: Observer = listener.host.observer
        self.on_failure: Callable[[HTTPConnection, BaseException], None] = lambda _connection, _error: None
        """Called for each logged failure of the application; a test client raises it."""
        self.access_log = AccessLog.of(settings)
        """None: no response is logged."""
        self.arrived: list[tuple[HTTPConnection, bytes]] = []
        """Received bytes that are not parsed yet. The connection that adds the first entry calls `will_work`."""
        self._aside: set[asyncio.Task[None]] = set()
        self._reading_on: dict[HTTPConnection, None] = {}
        """Connections with bytes left over from this iteration, because their share of its time was used up."""
        self.samples: dict[RouteObserver, HTTPSamples] = {}
        """Samples of the fast path by route observer, reported before anything is written."""
        self.missed: HTTPSamples = []
        """Samples of requests without a route, reported to the observer of the listener."""
        self.outbox = Outbox(self.call_soon, self._count)
        self.routing = Routing(listener)
        self._fast_path = FastPath(self)
        self.takes_fast_path = self.keeps_alive
        """False if each response is the last of its connection, as in a drain: the slow path serves those."""
        self._will_work = False
        # PERF: the same as `call_soon`, without a Python frame.
        self._plan_work = partial(self.loop.call_soon, self._work_as_planned, context=self.context)
        self.now = self.loop.time()
        """The loop's clock at the last sweep. It costs nothing and is precise enough for limits of seconds."""
        self._drained: asyncio.Future[None] | None = None
        times = (
            settings.header_timeout,
            settings.body_timeout,
            settings.keep_alive_timeout or settings.header_timeout,
            settings.write_timeout,
            settings.linger_time,
            settings.linger_timeout,
        )
        self._period = max(0.01, min(1.0, min(times) / 4))
        self._plan_sweep(rests=False)
        self._drainer: asyncio.TimerHandle | None = None

    def __call__(self) -> HTTPConnection:
        """Create the protocol of a new connection."""
        if self.life.on_activity is not None:
            self.life.on_activity()
        if self._rests:
            self._sweeper.cancel()
            self.now = self.loop.time()
            self._plan_sweep(rests=False)
        connection = HTTPConnection(self)
        if self.scheme == "https":
            self.handshaking.add(connection)
        return connection

    def connection_closed(self) -> None:
        """A connection ended."""
        self._see_whether_drained()

    def exchange_ended(self, exchange: Exchange) -> None:
        """A request in flight ended."""
        self.exchanges.discard(exchange)
        if self._drained is not None:
            self._see_whether_drained()

    def _see_whether_drained(self) -> None:
        if self._drained is not None and not self._is_busy and not self._drained.done():
            self._drained.set_result(None)

    @property
    def _is_busy(self) -> bool:
        return bool(self.connections or self.handshaking or self.exchanges)

    # --- a loop iteration: first read from all connections, then answer, then write -----------------

    # PERF: a system call leaves cold caches behind. Python code between two system calls takes two to three times as
    # long as the same code for a batch of requests. Also, a client that wakes once reads many responses.

    # NOTE: passes over many connections isolate failures: an exception ends only its connection
    # (`HTTPConnection.fail`), and `finally` does what the next pass needs.

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Call a function in the next loop iteration, outside the context (contextvars) of any request."""
        self.loop.call_soon(function, *args, context=self.context)

    def outside(self, function: Callable[..., object], *args: object) -> None:
        """Call a function outside the context (contextvars) of any request, because it stores the current context."""
        self.context.copy().run(function, *args)

    def run_aside(self, coro: Coroutine[Any, Any, None]) -> None:
        """Run the cleanup of a response body in a separate task. The coroutine must not raise."""
        task = asyncio.Task(coro, loop=self.loop, context=self.pool.new_context())
        self._aside.add(task)  # the loop keeps only weak references to tasks
        task.add_done_callback(self._aside.discard)

    def will_work(self) -> None:
        """Schedule `work` for the end of this loop iteration."""
        if not self._will_work:
            self._will_work = True
            if self.life.on_activity is not None:
                self.life.on_activity()
            self._plan_work()

    def _work_as_planned(self) -> None:
        self._will_work = False
        self.work()

    def will_read_on(self, connection: HTTPConnection) -> None:
        """Let a connection parse its left-over bytes in the next loop iteration, before any new ones."""
        self._reading_on[connection] = None
        self.will_work()

    def work(self) -> None:
        """Process the received bytes of all connections, then write their responses.

        A handler that runs the event loop itself may call this within a pass. Then nothing is parsed, because new
        requests on the handler's connection must not be answered before its own.
        """
        if (self.arrived or self._reading_on) and not self.outbox.is_held:
            arrived = self.arrived.copy()
            self.arrived.clear()
            self.outbox.is_held = True
            self.pool.enter()
            try:
                if self._reading_on:
                    arrived[:0] = self._read_on()
                if self.takes_fast_path and not self.response_hooks.present:
                    self._fast_path.serve(arrived)
                else:
                    serve_slowly(arrived)
            finally:
                self.pool.leave()
                self.outbox.is_held = False
                if self.arrived or self._reading_on:
                    self.will_work()
        self.outbox.flush()

    def _read_on(self) -> list[tuple[HTTPConnection, bytes]]:
        """Let connections continue with left-over bytes; return the bytes that the fast path may process."""
        reading_on, self._reading_on = self._reading_on, {}
        kept = []
        for connection in reading_on:
            try:
                kept.append((connection, connection.intake.read_on()))
            except BaseException as exc:
                connection.fail(exc)
        return [entry for entry in kept if entry[1]]

    def _count(self) -> None:
        """Count the requests of the fast path. Called before the write, so a client finds its response counted."""
        samples = self.samples
        try:
            for observer, of_route in samples.items():
                self.hooks.dispatched += len(of_route)
                observer.http_events(of_route)
            if self.missed:
                self.observer.http_not_found(self.missed)
        except BaseException as exc:
            log_safely(logger, logging.ERROR, "Counting requests failed", exc_info=exc)
        finally:
            samples.clear()
            self.missed.clear()

    def _sweep(self) -> None:
        try:
            tick()
            self.work()  # a connection with received bytes is not idle
            self.now = now = self.loop.time()
            for connection in list(self.connections):
                try:
                    enforce_limits(connection, now)
                except BaseException as exc:
                    connection.fail(exc)
        finally:
            self._plan_sweep(rests=not self._is_busy)

    def _plan_sweep(self, *, rests: bool) -> None:
        """Sweep at the next tick; less often while there are no connections."""
        self._rests = rests
        period = max(self._period, RESTING) if rests else self._period
        self._sweeper = call_at_next_tick(self.loop, period, self._sweep)

    # --- used by `HTTPSource` ----------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """See `Source`: requests in flight."""
        return len(self.exchanges)

    @property
    def open_connections(self) -> int:
        """See `Source`; includes lingering connections."""
        return len(self.connections)

    @property
    def lingering(self) -> list[HTTPConnection]:
        """Connections that were sent their last response and whose client may still be sending."""
        return [connection for connection in self.connections if connection.state is State.LINGERING]

    def drain(self) -> None:
        """Close idle connections one after the other, and the others after their last response."""
        self.work()
        self.draining, self.keeps_alive, self.takes_fast_path = True, False, False
        self._drain_idle(self.loop.time())

    def _drain_idle(self, began: float) -> None:
        """Close the connections whose time has come; repeat every `DRAIN_TICK`."""
        try:
            self.work()  # a connection with received bytes is not idle
            self.now = now = self.loop.time()
            slack = 1.5 * self._period  # timestamps are those of the last sweep
            for connection in list(self.connections):
                try:
                    part(connection, now, began, slack)
                except BaseException as exc:
                    connection.fail(exc)
            if now - began > FRESH_GRACE:
                self.handshaking.clear()
                self._see_whether_drained()
        finally:
            self._drainer = self.loop.call_later(DRAIN_TICK, self._drain_idle, began)

    async def wait_drained(self) -> None:
        """Wait until no connection is open and no request is in flight."""
        if self._is_busy:
            self._drained = self.loop.create_future()
            await self._drained
        self._close()

    def abort(self) -> list[str]:
        """Drop all connections. Return a description of each request that was in flight."""
        self._close()
        dropped = []
        for connection in list(self.connections):
            try:
                dropped.append(connection.abort())
            except BaseException as exc:
                connection.fail(exc)
        for exchange in list(self.exchanges):  # their clients are gone
            if exchange.connection not in self.connections:
                exchange.cancel()
                dropped.append(repr(exchange))
        return [what for what in dropped if what is not None]

    def _close(self) -> None:
        self._sweeper.cancel()
        if self._drainer is not None:
            self._drainer.cancel()
        if self._owns_pool:
            self.pool.close()
