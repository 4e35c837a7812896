"""The decorators of listeners and groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

from ...errors import RouteError
from ..aliases import F, H
from ..hooks import Hooks
from ..injection import Dependency, Hook, Place, check_coro_func, request_patterns
from ..injection.signatures import function_name, is_async_gen_func, where
from .options import EVENT_CHECKS, EventOptions, OptionCheck, check_options

if TYPE_CHECKING:
    from ..aliases import CoroFunc
    from .group import EventGroup
    from .route import Route

__all__ = ["Definition", "Registrar"]


@dataclass(frozen=True, slots=True)
class Definition:
    """A handler as it was registered: what `Route` is made of.

    :ivar path: the pattern
    :ivar name: the name of the route; None: that of the handler
    :ivar is_http: whether it was registered by a method and a path
    :ivar is_one_of_many: whether its event may have other subscribers
    :ivar scopes: the hooks that concern it, the outermost first
    :ivar dependencies: run before it
    """

    path: str
    fn: Callable[..., Any]
    name: str | None
    opts: dict[str, Any]
    is_http: bool = False
    is_one_of_many: bool = False
    scopes: tuple[Hooks, ...] = ()
    dependencies: tuple[Dependency, ...] = ()

    def within(
        self, group: EventGroup, prefix: str, name: str | None, dependencies: tuple[Dependency, ...]
    ) -> Definition:
        """Return the definition as the parent of a group sees it."""
        own = self.name or function_name(self.fn)
        return replace(
            self,
            path=self._prefixed(prefix),
            name=f"{name}.{own}" if name else own,
            scopes=(group.hooks, *self.scopes),
            dependencies=(*dependencies, *self.dependencies),
        )

    def _prefixed(self, prefix: str) -> str:
        """Return the pattern with a prefix before its path; as it is if it is not one of requests."""
        if not prefix or not (self.is_http or any(is_one(self.path) for is_one in request_patterns)):
            return self.path
        method, _, path = self.path.partition(":")
        return f"{method}:{prefix}{path}"


class Registrar:
    """Registers handlers and hooks: a listener, or a group of routes."""

    hooks: Hooks
    """Its hooks."""

    def on_event(
        self, path: str = "{_:path}", *, name: str | None = None, **opts: Unpack[EventOptions]
    ) -> Callable[[F], F]:
        """Register the decorated function as the handler of a pattern; see `add_on_event_hook`."""
        self._refuse_function(path, "on_event", '"order {id}"')
        if path in ("startup", "shutdown"):
            raise RouteError(
                f"no event of this name comes by itself: write @app.{path}; for an event that you trigger yourself, "
                f"add_on_event_hook(fn, {path!r})"
            )

        def register(fn: F) -> F:
            self.define(Definition(path, fn, name, dict(opts)))
            return fn

        return register

    def add_on_event_hook(
        self, fn: CoroFunc, path: str = "{_:path}", *, name: str | None = None, **opts: Any
    ) -> Route | None:
        """Register a handler.

        :param path: the pattern of the events to handle; every event by default
        :param name: the name of the route; by default the function's name
        :param opts: see `EventOptions`; stored as `route.opts`
        :returns: the route; None in a group, whose routes are made when a listener includes it
        :raises EventAlreadyExists: a route with this name exists
        :raises RouteError: the pattern is malformed or already registered, an argument cannot be injected, or an option
            does not exist
        :raises TypeError: the handler is not `async def`
        """
        return self.define(Definition(path, fn, name, opts))

    def subscribe(self, path: str, *, name: str | None = None, **opts: Unpack[EventOptions]) -> Callable[[F], F]:
        """Register the decorated function as one of several handlers of an event: all of them run.

        Each has its own hooks, result and metrics. The event is done when all are; its result is the list of their
        results.
        """
        self._refuse_function(path, "subscribe", '"order {id}"')

        def register(fn: F) -> F:
            self.define(Definition(path, fn, name, dict(opts), is_one_of_many=True))
            return fn

        return register

    def define(self, definition: Definition) -> Route | None:
        """Register a handler; see `add_on_event_hook`."""
        fn = definition.fn
        if not is_async_gen_func(fn):
            check_coro_func(fn)
        if not isinstance(definition.path, str):
            raise TypeError(f"a pattern is a str, not {definition.path!r}")
        self.check_options(definition)
        if definition.is_one_of_many and is_async_gen_func(fn):
            raise RouteError(f"{where(fn)} yields: a subscriber returns")
        return self._take(definition)

    def check_options(self, definition: Definition) -> None:
        """Check the options of a handler.

        :raises RouteError: one does not exist, or has a wrong value
        """
        checks, kind = self.checks_of(definition)
        check_options(where(definition.fn), definition.opts, checks, kind)
        if "timeout" in definition.opts and is_async_gen_func(definition.fn):
            raise RouteError(
                f"{where(definition.fn)}: timeout= limits the call of a handler, and a stream outlives it: "
                "use asyncio.timeout() within"
            )

    def checks_of(self, definition: Definition) -> tuple[Mapping[str, OptionCheck], str]:
        """Return the options that a handler may have, and what has these options."""
        return EVENT_CHECKS, "a route"

    def _take(self, definition: Definition) -> Route | None:
        raise NotImplementedError

    @staticmethod
    def _refuse_function(path: Any, decorator: str, example: str) -> None:
        if callable(path):
            raise TypeError(f"@app.{decorator} needs parentheses, for {where(path)}: write @app.{decorator}({example})")

    def include(
        self, group: EventGroup, *, prefix: str = "", name: str | None = None, dependencies: Iterable[Any] = ()
    ) -> None:
        """Register all handlers of a group, those that it gets later too.

        :param prefix: before the paths of its HTTP routes, and before its own prefix
        :param name: before the names of its routes, with a dot; by default the group's own
        :param dependencies: `Depends(...)` to run before each of its handlers
        :raises RouteError: a handler cannot be registered, or the prefix is malformed
        """
        if not hasattr(group, "join"):
            raise TypeError(
                f"include() takes a group, not {type(group).__name__}: write Group(prefix=...) in the module"
            )
        group.join(self, prefix, name, tuple(dependencies))

    def before_event(self, fn: H) -> H:
        """Run the decorated function before the handler of each event. A `Response` that it returns is the answer."""
        self.add_before_event_hook(fn)
        return fn

    def add_before_event_hook(self, fn: CoroFunc) -> None:
        """Run `fn` before the handler of each event."""
        self.hooks.add_before(Hook(fn))

    def after_event(self, fn: H) -> H:
        """Run the decorated function after each event that did not fail."""
        self.add_after_event_hook(fn)
        return fn

    def add_after_event_hook(self, fn: CoroFunc) -> None:
        """Run `fn` after each event that did not fail, in its handler or a hook."""
        self.hooks.add_after(Hook(fn))

    def on_error(self, exc: type[BaseException]) -> Callable[[H], H]:
        """Run the decorated function when an event fails with `exc` or a subclass of it."""
        self._check_error_class(exc)

        def register(fn: H) -> H:
            self.add_on_error_hook(fn, exc)
            return fn

        return register

    def add_on_error_hook(self, fn: CoroFunc, exc: type[BaseException]) -> None:
        """Run `fn` when an event fails with `exc`. The value it returns becomes the event's result.

        :raises TypeError: `exc` is not an exception class
        """
        self._check_error_class(exc)
        self.hooks.add_on_error(exc, Hook(fn, place=Place(errors=exc)))

    @staticmethod
    def _check_error_class(exc: Any) -> None:
        if not (isinstance(exc, type) and issubclass(exc, BaseException)):
            if callable(exc):
                raise TypeError(f"on_error of {where(exc)} takes an exception class: write @app.on_error(ValueError)")
            raise TypeError(
                f"on_error takes an exception class, not {exc!r}: write @app.on_error(ValueError), or for responses of "
                "a status @app.on_status(404)"
            )
