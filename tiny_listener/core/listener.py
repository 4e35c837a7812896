"""The listener: where handlers and hooks are registered, and where events are triggered."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, get_args

from ..errors import (
    ContextNotFound,
    EventAlreadyExists,
    EventNotFound,
    ListenerError,
)
from ..net.loop import ServerLoop, new_event_loop
from ..process.after_fork import forget_server, remember_server
from ..process.last_resort import on_forced_exit
from ..process.run_loop import close_loop, run_main
from ..router import Router
from .aliases import CTX, F
from .context import Context, Contexts, Scope
from .dispatch import EventTask, Hooks, dispatch
from .event import Event
from .injection import Hook, check_coro_func
from .lifecycle import Draining, Lifecycle, State
from .route import Route
from .running import begin_to_run, is_main_thread, run_no_more
from .runtime import Host

if TYPE_CHECKING:
    from .aliases import CoroFunc, PathParams
    from .source import Source

__all__ = ["Listener"]


class Listener(Generic[CTX]):
    """Handlers registered by event path, and all that an event needs on its way to them.

    Subclass it and say in `listen()` where events come from.
    """

    _context_cls: type[Context] = Context

    def __init__(self) -> None:
        self.ctxs: Contexts[CTX] = Contexts()
        self.routes: dict[str, Route] = {}
        self.host = Host()
        self.router: Router[Route] = Router()
        self.hooks = Hooks()
        self.lifecycle = Lifecycle()
        self._was_signalled = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the context class from `class App(Listener[MyContext])`."""
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            for arg in get_args(base):
                if isinstance(arg, type) and issubclass(arg, Context):
                    cls._context_cls = arg

    # --- what a subclass says -------------------------------------------------------------------

    async def listen(self) -> None:
        """Open the sources of events: start servers, subscribe to queues. To be overridden.

        It may return when they are open, or go on for as long as the listener runs.

        :raises NotImplementedError: it was not overridden
        """
        raise NotImplementedError(f"{type(self).__name__} must define `async def listen(self)`")

    def setup_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop to run in. To be overridden by who needs another."""
        return new_event_loop()

    def install_signal_handlers(self) -> None:
        """Let SIGINT and SIGTERM begin a graceful shutdown (main thread only)."""
        if not is_main_thread():
            return
        loop = asyncio.get_event_loop()
        if (last_resort := self.host.last_resort) is not None:
            last_resort.catch(self.host.signals)
            last_resort.hand_to(loop, self._on_signal)
            return
        for sig in self.host.signals:
            loop.add_signal_handler(sig, self._on_signal, sig)

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
        """Let a shutdown wait for what `source` has in flight."""
        self.lifecycle.sources.append(source)

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
        try:
            route, params = self.match_route(path)
        except EventNotFound:
            self.host.observer.not_found()
            raise
        # A context of its own is made when somebody asks for it; most events never do.
        event = Event(None, route, data, params, self) if ctx is None else ctx.new_event(route, data, params)
        return self.run_event(event, timeout)

    def run_event(self, event: Event[Any], timeout: float | None = None) -> EventTask:
        """Run an event in a task of its own, which a shutdown waits for."""
        if self.lifecycle.stir is not None:
            self.lifecycle.stir()
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
        await self.lifecycle.live(self.listen, self.host)

    def run(self) -> None:
        """Run the listener in this thread until it is shut down.

        What does not end within the graceful timeout, such as a thread that is blocked, is named in the log and left
        behind; the interpreter waits for threads that are no daemons.

        :raises DuplicateListener: one runs in this thread already
        :raises BaseException: what a startup callback or `listen()` raised; SystemExit or KeyboardInterrupt, whatever
            code raised it in the loop, when what is in flight has finished
        """
        begin_to_run(self)
        self._was_signalled = False
        loop = server = take_back = None
        try:
            loop = self.setup_event_loop()
            self._lend_sockets(loop)
            asyncio.set_event_loop(loop)
            take_back = on_forced_exit(getattr(loop, "remove_files", lambda: None))
            server = remember_server(loop, lambda: getattr(loop, "addresses", ()))
            self.install_signal_handlers()
            run_main(loop, self.main(), self._leave)
        finally:
            if loop is not None:
                close_loop(loop, self.lifecycle.time_left(loop.time()))
            if server is not None:
                forget_server(server)
            if take_back is not None:
                take_back()
            run_no_more()

    def _leave(self, exit_code: int) -> None:
        """The application has left the loop, which runs again: what is in flight finishes."""
        if self.host.last_resort is not None:
            self.host.last_resort.exit_code = exit_code
        self.lifecycle.begin_stop(self.host)

    def _lend_sockets(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.host.sockets is None:
            return
        if not isinstance(loop, ServerLoop):
            raise ListenerError(
                f"{type(self).__name__}.setup_event_loop() returned a {type(loop).__qualname__}, which would bind "
                "sockets of its own in each worker: return super().setup_event_loop(), or "
                "tiny_listener.new_event_loop(), when there is more than one worker"
            )
        loop.socket_provider = self.host.sockets

    def _on_signal(self, sig: signal.Signals, at_once: bool | None = None) -> None:
        """A signal came; without a last resort, which counts them, a second one says "at once"."""
        hurry = self._was_signalled if at_once is None else at_once
        self._was_signalled = True
        # The loop keeps only weak references to tasks.
        self._stopping: asyncio.Future[None] = asyncio.ensure_future(self._graceful(sig, hurry=hurry))

    async def _graceful(self, sig: signal.Signals, *, hurry: bool) -> None:
        life = self.lifecycle
        if life.state is State.STARTING:
            life.begin_stop(self.host, cut=True)
        elif hurry or not life.is_stopping:
            await self.graceful_shutdown(sig)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(routes={len(self.routes)})"
