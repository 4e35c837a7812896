"""The listener: where handlers and hooks are registered, and where events are triggered."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, get_args

from ..errors import ContextNotFound, EventAlreadyExists, EventNotFound, ListenerError
from ..net.loop import new_event_loop
from ..router import Router
from .aliases import CTX, F
from .context import Context, Contexts, Scope
from .dispatch import EventTask, Hooks, dispatch
from .draining import Draining
from .event import Event
from .event_pool import EventPool
from .injection import Hook, check_coro_func
from .lifecycle import Lifecycle
from .route import Route
from .runtime import Host, StopSignals, run_listener
from .source import Source, take_in

if TYPE_CHECKING:
    from .aliases import CoroFunc, PathParams
    from .event_pool import OnEnd

__all__ = ["Listener"]


class Listener(Generic[CTX]):
    """Handlers registered by event path, and all that an event needs on its way to them.

    Say where events come from: with `add_source()`, or in the `listen()` of a subclass.
    """

    _context_cls: type[Context] = Context

    def __init__(self) -> None:
        self.ctxs: Contexts[CTX] = Contexts()
        self.routes: dict[str, Route] = {}
        self.host = Host()
        self.router: Router[Route] = Router()
        self.hooks = Hooks()
        self.lifecycle = Lifecycle()
        self.event_pool = EventPool(self.hooks)
        self.sources: list[Source] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the context class from `class App(Listener[MyContext])`."""
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            for arg in get_args(base):
                if isinstance(arg, type) and issubclass(arg, Context):
                    cls._context_cls = arg

    # --- what a subclass says -------------------------------------------------------------------

    async def listen(self) -> None:
        """Open what is not a `Source`: start servers, subscribe to queues. To be overridden.

        It may return when they are open, or go on for as long as the listener runs. It is called when the sources that
        were added are open.

        :raises NotImplementedError: it was not overridden, and there is no source
        """
        if not self.sources:
            raise NotImplementedError(
                f"{type(self).__name__} takes no events in: define `async def listen(self)`, or call add_source()"
            )

    def setup_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop to run in. To be overridden by who needs another."""
        return new_event_loop()

    def install_signal_handlers(self) -> None:
        """Let SIGINT and SIGTERM begin a graceful shutdown (main thread only)."""
        StopSignals(self).install()

    # --- registration ---------------------------------------------------------------------------

    def on_event(self, path: str = "{_:path}", *, name: str | None = None, **opts: Any) -> Callable[[F], F]:
        """Register the decorated function as the handler of a pattern; see `add_on_event_hook`."""

        def register(fn: F) -> F:
            self.add_on_event_hook(fn, path, name=name, **opts)
            return fn

        return register

    def add_on_event_hook(self, fn: CoroFunc, path: str = "{_:path}", *, name: str | None = None, **opts: Any) -> Route:
        """Register a handler.

        :param path: the pattern of the events that it handles; every event by default
        :param name: the name of the route; the function's by default
        :param opts: kept as `route.opts`
        :raises EventAlreadyExists: a route of this name exists
        :raises RouteError: a malformed pattern, one that exists, or an argument that cannot be injected
        :raises TypeError: the handler is not `async def`
        """
        route = Route(path, fn, opts, name)
        known = self.routes.get(route.name)
        if known is not None:
            raise EventAlreadyExists(
                f"Route {route.name!r} of {route.where} exists already, registered by {known.where} "
                f"for {known.path!r}; rename the function, or give one of them a name=..."
            )
        self.router.add(route)
        self.routes[route.name] = route
        route.observer = self.host.observer.route_added(route)
        return route

    def remove_on_event_hook(self, name: str | CoroFunc) -> bool:
        """Remove a handler by the route's name or by the function; False when there was none."""
        if isinstance(name, str):
            route = self.routes.get(name)
        else:
            route = next((route for route in self.routes.values() if route.fn == name), None)
        if route is None:
            return False
        del self.routes[route.name]
        self.router.remove(route)
        return True

    def before_event(self, fn: F) -> F:
        """Run the decorated function before the handler of each event."""
        self.add_before_event_hook(fn)
        return fn

    def add_before_event_hook(self, fn: CoroFunc) -> None:
        """Run `fn` before the handler of each event."""
        self.hooks.add_before(Hook(fn))

    def after_event(self, fn: F) -> F:
        """Run the decorated function after each event whose handler and hooks did not fail."""
        self.add_after_event_hook(fn)
        return fn

    def add_after_event_hook(self, fn: CoroFunc) -> None:
        """Run `fn` after each event whose handler and hooks did not fail."""
        self.hooks.add_after(Hook(fn))

    def on_error(self, exc: type[BaseException]) -> Callable[[F], F]:
        """Run the decorated function when an event fails with `exc` or a subclass of it."""

        def register(fn: F) -> F:
            self.add_on_error_hook(fn, exc)
            return fn

        return register

    def add_on_error_hook(self, fn: CoroFunc, exc: type[BaseException]) -> None:
        """Run `fn` when an event fails with `exc`; a value that it returns becomes the event's result.

        :raises TypeError: `exc` is no class of exceptions
        """
        if not (isinstance(exc, type) and issubclass(exc, BaseException)):
            raise TypeError(f"on_error() takes an exception class, not {exc!r}: write @app.on_error(ValueError)")
        self.hooks.add_on_error(exc, Hook(fn))

    def startup(self, fn: F) -> F:
        """Run the decorated function before `listen()`."""
        self.add_startup_callback(fn)
        return fn

    def add_startup_callback(self, fn: CoroFunc) -> None:
        """Run `fn` before `listen()`."""
        self.lifecycle.startup.append(check_coro_func(fn))

    def shutdown(self, fn: F) -> F:
        """Run the decorated function at the end, when running events have finished."""
        self.add_shutdown_callback(fn)
        return fn

    def add_shutdown_callback(self, fn: CoroFunc) -> None:
        """Run `fn` at the end, when running events have finished."""
        self.lifecycle.shutdown.append(check_coro_func(fn))

    def add_source(self, source: Source) -> None:
        """Take events in from a source too: it is opened when the listener starts, and drained when it ends.

        :raises ListenerError: the listener has opened its sources already
        """
        if self.lifecycle.opens:
            raise ListenerError(
                f"add_source({source.name!r}) comes too late, the listener runs: use `await listener.open_source(...)`"
            )
        self.sources.append(source)

    async def open_source(self, source: Source) -> None:
        """Open one more source now, from `listen()` or a handler; it is drained with the others.

        Its `run()` is not called.

        :raises Exception: what its `open` raised
        """
        await self.lifecycle.open(source, self)

    # --- contexts -------------------------------------------------------------------------------

    def set_context_cls(self, cls: type[Context]) -> None:
        """Make contexts of this class from now on.

        :raises TypeError: it is no subclass of Context
        """
        if not (isinstance(cls, type) and issubclass(cls, Context)):
            raise TypeError(f"set_context_cls() takes a subclass of tiny_listener.Context, not {cls!r}")
        self._context_cls = cls

    def new_ctx(self, cid: str | None = None, scope: Scope | None = None) -> CTX:
        """Make a context.

        :param cid: its id; without one it is gone when its events are done and nothing refers to it
        :raises ContextAlreadyExists: a living context has this id
        """
        named = cid is not None
        ctx: Any = self._context_cls(self, cid=cid if cid is not None else secrets.token_hex(16), scope=scope)
        self.ctxs.add(ctx, named=named)
        return ctx  # type: ignore[no-any-return]

    def get_ctx(self, cid: str) -> CTX:
        """Return a living context.

        :raises ContextNotFound: there is none with this id
        """
        try:
            return self.ctxs[cid]
        except KeyError:
            raise ContextNotFound(f"Context {cid!r} not found: it was never made, or it was dropped") from None

    # --- events ---------------------------------------------------------------------------------

    def get_route(self, name: str) -> Route:
        """Return a route by its name, which is its handler's unless another was given.

        :raises EventNotFound: there is none
        """
        try:
            return self.routes[name]
        except KeyError:
            raise EventNotFound(f"No route is named {name!r}") from None

    def match_route(self, path: str) -> tuple[Route, PathParams]:
        """Return the route whose pattern matches the whole of `path`, and its converted parameters. Nothing is counted.

        :raises EventNotFound: no pattern matches
        """
        found = self.router.match(path)
        if found is None:
            raise EventNotFound(f"No handler is registered for the event {path!r}")
        return found

    def trigger_event(
        self,
        path: str,
        cid: str | None = None,
        timeout: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> EventTask:
        """Trigger an event: its hooks and its handler run in a task of their own, which is returned.

        :param path: the event's text, that a pattern has to match
        :param cid: the id of its context, which is made when there is none yet; None: a context of its own
        :param timeout: seconds that the handler may take; then it ends with TimeoutError
        :param data: what hooks and handler find in `event.data`
        :raises EventNotFound: no pattern matches; it is counted as a 404
        """
        ctx = None if cid is None else self.ctxs.get(cid) or self.new_ctx(cid)
        return self.trigger_in(ctx, path, timeout, data)

    def trigger_in(self, ctx: CTX | None, path: str, timeout: float | None, data: dict[str, Any] | None) -> EventTask:
        """Trigger an event in a context, or in one of its own; see `trigger_event`."""
        return self.run_event(self._event_of(ctx, path, data), timeout)

    def _event_of(self, ctx: CTX | None, path: str, data: dict[str, Any] | None) -> Event[Any]:
        try:
            route, params = self.match_route(path)
        except EventNotFound:
            self.host.observer.not_found()
            raise
        # A context of its own is made when somebody asks for it; most events never do.
        return Event(None, route, data, params, self) if ctx is None else ctx.new_event(route, data, params)

    def dispatch_now(
        self,
        path: str,
        data: dict[str, Any] | None = None,
        *,
        cid: str | None = None,
        timeout: float | None = None,
        on_end: OnEnd | None = None,
    ) -> Event[Any]:
        """Dispatch an event at once: the cheap way for a source, which HTTP takes too. Return the event.

        Called outside of a task, as from a protocol's `data_received`, the first step of hooks and handler runs before
        this returns; an event whose handler does not suspend has ended then. Otherwise it goes on in a task.

        :param data: what hooks and handler find in `event.data`
        :param on_end: called with the event when it has ended, which may be before this returns; `event.result`,
            `event.error` and `event.outcome` say how. Without it an error that nobody handled is logged.
        :raises EventNotFound: no pattern matches; it is counted as a 404
        :raises ListenerError: the listener does not run
        """
        if self.lifecycle.on_activity is not None:
            self.lifecycle.on_activity()
        event = self._event_of(None if cid is None else self.ctxs.get(cid) or self.new_ctx(cid), path, data)
        self.event_pool.dispatch(event, timeout, on_end)
        return event

    def run_event(self, event: Event[Any], timeout: float | None = None) -> EventTask:
        """Run an event in a task of its own, which a shutdown waits for."""
        if self.lifecycle.on_activity is not None:
            self.lifecycle.on_activity()
        running = self.lifecycle.running
        coro = dispatch(event, self.hooks, timeout)
        task = EventTask(coro, asyncio.get_running_loop(), event, running.discard)
        running.add(task)
        return task

    # --- life -----------------------------------------------------------------------------------

    @property
    def slot(self) -> int:
        """The stable number of the worker that this listener runs in, 0 to N - 1."""
        return self.host.slot

    def attach(self, host: Host) -> None:
        """Tell the listener which process it runs in (before it runs)."""
        self.host = host
        self.router.prepare()
        for route in self.routes.values():
            route.observer = host.observer.route_added(route)

    def ready(self) -> None:
        """Say that events are taken in from now on; needed only where `listen()` does not return.

        Without it such a listener counts as ready when the servers that it opens in a row are up, or after one second.
        """
        self.lifecycle.ready()

    async def wait_for_shutdown(self) -> None:
        """Return when a shutdown has begun."""
        await self.lifecycle.wait_for_shutdown()

    @property
    def draining(self) -> Draining:
        """To be awaited: returns when the drain begins, after the drain delay; what never ends by itself can then."""
        return self.lifecycle.draining

    @property
    def is_draining(self) -> bool:
        """Whether the drain has begun."""
        return self.lifecycle.draining.has_begun

    async def graceful_shutdown(self, sig: int | None = None) -> None:
        """Stop taking events in, finish those that run, run the shutdown callbacks; called again: hurry.

        Returns when all of it is done. To a handler, and to other code that the listener runs or that such code
        started, it returns when the shutdown has begun: that is waited for itself.

        :param sig: the signal that asked for it, if one did
        """
        await self.lifecycle.stop(self.host)

    async def main(self) -> None:
        """Run from startup to shutdown, in the loop that runs already."""
        await self.live(partial(take_in, self))

    async def live(self, listen: CoroFunc) -> None:
        """Live from startup to shutdown, with what `listen` opens as the sources."""

        async def open_pool_and_listen() -> None:
            await self.open_source(self.event_pool)
            await listen()

        try:
            await self.lifecycle.live(open_pool_and_listen, self.host)
        finally:
            self.event_pool.close()

    def run(self) -> None:
        """Run the listener in this thread until it is shut down.

        What does not end within the graceful timeout, such as a thread that is blocked, is named in the log and left
        behind; the interpreter waits for threads that are no daemons.

        :raises DuplicateListener: one runs in this thread already
        :raises BaseException: what a startup callback or `listen()` raised; SystemExit or KeyboardInterrupt, whatever
            code raised it in the loop, when what is in flight has finished
        """
        run_listener(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(routes={len(self.routes)})"
