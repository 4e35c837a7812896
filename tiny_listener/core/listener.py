"""The listener. Applications register handlers and hooks with it; sources trigger events through it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from ..errors import ContextNotFound, EventNotFound, ListenerError
from ..net.loop import new_event_loop
from .aliases import CTX, H
from .context import Context, Contexts, Scope
from .dispatch import EventTask, dispatch
from .draining import Draining
from .event import Event
from .event_pool import EventPool
from .hooks import Hooks
from .injection import check_coro_func
from .injection.overrides import Overrides
from .lifecycle import Lifecycle
from .lifespan import Lifespan, LifespanFunction, State
from .publishing import Publishes, open_publisher
from .registration import Definition, NamedEvent, Registrar, Route, RouteTable
from .runtime import Host, StopSignals, run_listener
from .source import Source, take_in

if TYPE_CHECKING:
    from .aliases import CoroFunc, PathParams
    from .event_pool import OnEnd

__all__ = ["Listener"]

L = TypeVar("L", bound=LifespanFunction)


class Listener(Registrar, Publishes, Generic[CTX]):
    """Registers handlers by event path and dispatches events to them.

    Events come from sources: add them with `add_source()`, or open them in the `listen()` of a subclass.
    """

    _context_cls: type[Context] = Context

    def __init__(self) -> None:
        self.ctxs: Contexts[CTX] = Contexts()
        self.hooks = Hooks()
        self.table = RouteTable(self.hooks)
        self.routes = self.table.by_name
        self.router = self.table.router
        self.host = Host()
        self.lifecycle = Lifecycle()
        self.event_pool = EventPool(self.hooks)
        self.sources: list[Source] = []
        self.state = State()
        """The application's own: attributes of any names."""
        self.overrides = Overrides()
        """Replaced dependencies; see `override`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the context class from `class App(Listener[MyContext])`."""
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            for arg in get_args(base):
                if isinstance(arg, type) and issubclass(arg, Context):
                    cls._context_cls = arg

    # --- overridden by subclasses ---------------------------------------------------------------

    async def listen(self) -> None:
        """Start servers and subscriptions that are not a `Source`. Subclasses override this.

        The listener calls it after it has opened the added sources. It may return once everything is open, or run for
        as long as the listener does.

        :raises NotImplementedError: not overridden, and no source was added
        """
        if not self.sources:
            raise NotImplementedError(
                f"{type(self).__name__} has no source of events: define `async def listen(self)`, or call add_source()"
            )

    def setup_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop to run in. Override it to use another loop."""
        return new_event_loop()

    def install_signal_handlers(self) -> None:
        """Handle SIGINT and SIGTERM with a graceful shutdown (main thread only)."""
        StopSignals(self).install()

    # --- registration ---------------------------------------------------------------------------

    def add_on_event_hook(self, fn: CoroFunc, path: str = "{_:path}", *, name: str | None = None, **opts: Any) -> Route:
        """Register a handler and return its route; see `Registrar.add_on_event_hook`."""
        return self.define(Definition(path, fn, name, opts))

    def define(self, definition: Definition) -> Route:
        """Register a handler and return its route; see `Registrar`."""
        route = super().define(definition)
        assert route is not None
        return route

    def _take(self, definition: Definition) -> Route:
        route = self.table.add(definition)
        route.observer = self.host.observer.route_added(route)
        return route

    def remove_on_event_hook(self, name: str | CoroFunc) -> bool:
        """Remove a handler by its function or its route's name. Return False if there is no such handler."""
        return self.table.remove(name)

    @contextlib.contextmanager
    def override(self, dependency: Callable[..., Any], replacement: Callable[..., Any]) -> Iterator[None]:
        """Use another function instead of a dependency while the block runs, for tests.

        :param dependency: the function in `Depends(...)`
        :param replacement: its arguments are injected likewise
        :raises TypeError: it is not a coroutine function, nor an async generator function
        """
        try:
            with self.overrides.replaced(dependency, replacement):
                self._plan_hooks()
                yield
        finally:
            self._plan_hooks()

    def _plan_hooks(self) -> None:
        for route in self.routes.values():
            route.plan_hooks(may_exit=self.overrides.may_exit)

    def lifespan(self, fn: L) -> L:
        """Run the decorated async generator around the life of the listener: up to its `yield` at startup, the rest at
        shutdown, after the shutdown callbacks.

        What it yields, if it is a dict, becomes attributes of `state`. Lifespans are left in reverse order.

        :raises TypeError: it is neither an async generator function nor one that returns an async context manager
        """
        lifespan = Lifespan(fn, self)
        self.lifecycle.startup.append(lifespan.enter)
        self.lifecycle.lifespans.append(lifespan)
        return fn

    def startup(self, fn: H) -> H:
        """Run the decorated function before `listen()`."""
        self.add_startup_callback(fn)
        return fn

    def add_startup_callback(self, fn: CoroFunc) -> None:
        """Run `fn` before `listen()`."""
        self.lifecycle.startup.append(check_coro_func(fn))

    def shutdown(self, fn: H) -> H:
        """Run the decorated function at shutdown, after the events in flight have finished."""
        self.add_shutdown_callback(fn)
        return fn

    def add_shutdown_callback(self, fn: CoroFunc) -> None:
        """Run `fn` at shutdown, after the events in flight have finished."""
        self.lifecycle.shutdown.append(check_coro_func(fn))

    def add_source(self, source: Source) -> None:
        """Add a source of events. The listener opens it at startup and drains it at shutdown.

        :raises ListenerError: the listener has already opened its sources
        """
        if self.lifecycle.opens:
            raise ListenerError(
                f"add_source({source.name!r}) comes too late, the listener is running: "
                "use `await listener.open_source(...)`"
            )
        self.sources.append(source)

    async def open_source(self, source: Source) -> None:
        """Open another source now, from `listen()` or a handler. It is drained with the others.

        Its `run()` is not called.

        :raises Exception: raised by the source's `open`
        """
        await self.lifecycle.open(source, self)

    # --- contexts -------------------------------------------------------------------------------

    def set_context_cls(self, cls: type[Context]) -> None:
        """Use this class for new contexts.

        :raises TypeError: it is not a subclass of Context
        """
        if not (isinstance(cls, type) and issubclass(cls, Context)):
            raise TypeError(f"set_context_cls() takes a subclass of tiny_listener.Context, not {cls!r}")
        self._context_cls = cls

    def new_ctx(self, cid: str | None = None, scope: Scope | None = None) -> CTX:
        """Create a context.

        :param cid: its id; a context without one is freed once its events are done and nothing refers to it
        :raises ContextAlreadyExists: a live context has this id
        """
        named = cid is not None
        ctx: Any = self._context_cls(self, cid=cid if cid is not None else secrets.token_hex(16), scope=scope)
        self.ctxs.add(ctx, named=named)
        return ctx  # type: ignore[no-any-return]

    def get_ctx(self, cid: str) -> CTX:
        """Return a live context.

        :raises ContextNotFound: no context has this id
        """
        try:
            return self.ctxs[cid]
        except KeyError:
            raise ContextNotFound(f"Context {cid!r} not found: it was never created, or it was dropped") from None

    # --- events ---------------------------------------------------------------------------------

    def get_route(self, name: str) -> Route:
        """Return a route by its name: by default the name of its handler.

        :raises EventNotFound: no route has this name
        """
        return self.table.get(name)

    def match_route(self, path: str) -> tuple[Route, PathParams]:
        """Return the route whose pattern matches all of `path`, and its converted parameters. This counts nothing.

        :raises EventNotFound: no pattern matches
        """
        return self.table.match(path)

    def event(self, pattern: str, /, **params: Any) -> NamedEvent:
        """Name an event by its pattern and the values of its parameters, to trigger it.

        No text is made and parsed again, so a value is never taken for something else, whatever characters it has.

        :param pattern: as it was registered, with the prefixes of its groups
        :raises EventNotFound: no route has this pattern
        :raises PathParamsError: a parameter is missing, or does not exist
        :raises TypeError: a value has another type than its convertor returns
        """
        return self.table.name(pattern, params)

    def trigger_event(
        self,
        path: str | NamedEvent,
        cid: str | None = None,
        timeout: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> EventTask:
        """Trigger an event. Its hooks and its handler run in a new task; return that task.

        :param path: the event's text, which must match a pattern; or its name, from `event()`
        :param cid: the id of its context, which is created if it does not exist; None: a new context
        :param timeout: seconds that the handler may take before it ends with TimeoutError
        :param data: passed to hooks and handler as `event.data`
        :raises EventNotFound: no pattern matches; counted as a 404
        """
        ctx = None if cid is None else self.ctxs.get(cid) or self.new_ctx(cid)
        return self.trigger_in(ctx, path, timeout, data)

    def trigger_in(
        self, ctx: CTX | None, path: str | NamedEvent, timeout: float | None, data: dict[str, Any] | None
    ) -> EventTask:
        """Trigger an event in a context, or in a new one; see `trigger_event`."""
        return self.run_event(self._event_of(ctx, path, data), timeout)

    def _event_of(self, ctx: CTX | None, path: str | NamedEvent, data: dict[str, Any] | None) -> Event[Any]:
        try:
            route, params = self.table.match(path)
        except EventNotFound:
            self.host.observer.not_found()
            raise
        # Without `ctx`, `Event.ctx` creates a context on first use; most events never use one.
        return Event(None, route, data, params, self) if ctx is None else ctx.new_event(route, data, params)

    def dispatch_now(
        self,
        path: str | NamedEvent,
        data: dict[str, Any] | None = None,
        *,
        cid: str | None = None,
        timeout: float | None = None,
        on_end: OnEnd | None = None,
    ) -> Event[Any]:
        """Dispatch an event at once and return it. This is the cheap way for sources; HTTP uses it too.

        Call it outside of a task, for example from a protocol's `data_received`. Hooks and handler run up to their
        first suspension before this returns, so an event whose handler does not suspend has ended by then. Otherwise
        the rest runs in a task.

        :param data: passed to hooks and handler as `event.data`
        :param on_end: called with the event when it has ended, which may be before this returns; see `event.result`,
            `event.error` and `event.outcome`. Without it, an unhandled error is logged.
        :raises EventNotFound: no pattern matches; counted as a 404
        :raises ListenerError: the listener is not running
        """
        if self.lifecycle.on_activity is not None:
            self.lifecycle.on_activity()
        event = self._event_of(None if cid is None else self.ctxs.get(cid) or self.new_ctx(cid), path, data)
        self.event_pool.dispatch(event, timeout, on_end)
        return event

    def run_event(self, event: Event[Any], timeout: float | None = None) -> EventTask:
        """Run an event in a new task. A shutdown waits for it."""
        if self.lifecycle.on_activity is not None:
            self.lifecycle.on_activity()
        running = self.lifecycle.running
        coro = dispatch(event, self.hooks, timeout)
        task = EventTask(coro, asyncio.get_running_loop(), event, running.discard)
        running.add(task)
        return task

    # --- lifecycle ------------------------------------------------------------------------------

    @property
    def slot(self) -> int:
        """The stable number of the worker that this listener runs in: 0 to N - 1."""
        return self.host.slot

    def attach(self, host: Host) -> None:
        """Set the host process of the listener. Call it before the listener runs."""
        self.host = host
        self.router.prepare()
        for route in self.routes.values():
            route.observer = host.observer.route_added(route)

    def ready(self) -> None:
        """Mark the listener as ready for events. Needed only if `listen()` does not return.

        Otherwise such a listener counts as ready when its servers are up, or after one second.
        """
        self.lifecycle.ready()

    async def wait_for_shutdown(self) -> None:
        """Return when a shutdown has begun."""
        await self.lifecycle.wait_for_shutdown()

    @property
    def draining(self) -> Draining:
        """Await it to wait for the drain, after the drain delay. Handlers that never end by themselves use it."""
        return self.lifecycle.draining

    @property
    def is_draining(self) -> bool:
        """Whether the drain has begun."""
        return self.lifecycle.draining.has_begun

    async def graceful_shutdown(self, sig: int | None = None) -> None:
        """Stop accepting events, finish those in flight, and run the shutdown callbacks. A second call skips the wait.

        Returns when the shutdown is complete. In a handler, and in any other code that the listener runs, it returns
        as soon as the shutdown has begun, because the shutdown waits for that code.

        :param sig: the signal that caused it, if any
        """
        await self.lifecycle.stop(self.host)

    async def main(self) -> None:
        """Run from startup to shutdown in the running loop."""
        await self.live(partial(take_in, self))

    async def live(self, listen: CoroFunc) -> None:
        """Run from startup to shutdown; `listen` opens the sources."""

        async def open_pool_and_listen() -> None:
            await self.open_source(self.event_pool)
            await open_publisher(self)
            await listen()

        try:
            await self.lifecycle.live(open_pool_and_listen, self.host)
        finally:
            self.publisher = None
            self.event_pool.close()

    def run(self) -> None:
        """Run the listener in this thread until it is shut down.

        Work that does not end within the graceful timeout, such as a blocked thread, is logged and abandoned. The
        interpreter waits for non-daemon threads.

        :raises DuplicateListener: a listener already runs in this thread
        :raises BaseException: raised by a startup callback or `listen()`; also SystemExit and KeyboardInterrupt from
            any code in the loop, once what is in flight has finished
        """
        run_listener(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(routes={len(self.routes)})"
