"""Dependency injection. The arguments of a handler are planned once, when it is registered.

An argument gets the first of these values that applies:

* the result of `Depends(fn)`, if that is its default value;
* the path parameter or data item with the argument's name, if `Param` or `Data` is its annotation, its default,
  or part of `Annotated[T, Param]`;
* the event or its context, if its annotation is `Event`, `Context` or a subclass;
* the exception that the event failed with, if its annotation is a matching exception class (in an error handler);
* the result of `from_event`, if its annotated class is `Injectable` (such as an HTTP `Request`);
* a value from one of the `planners` (such as the typed body of an HTTP request);
* its default value;
* `None`.

`codegen` compiles the plan to a plain function, so a call inspects nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
)
from typing import runtime_checkable as _runtime_checkable

from ..errors import EventDataError, PathParamsError
from .codegen import AsyncResolver, ParamOfRoute, Resolver, compose, the_event
from .context import Context
from .event import Event
from .signatures import EMPTY, Parameter, function_name, is_coro_func, parameters_of, where

if TYPE_CHECKING:
    from .aliases import AnyEvent, Call, CoroFunc

__all__ = [
    "Argument",
    "Data",
    "Dependency",
    "Depends",
    "Hook",
    "Injectable",
    "Param",
    "check_coro_func",
    "classes_of",
    "depend",
    "planners",
]

T = TypeVar("T")

if TYPE_CHECKING:
    Param: TypeAlias = Any
    Data: TypeAlias = Any
else:

    class _Marker:
        """A marker in a signature for where an argument comes from."""

        __slots__ = ("_name",)

        def __init__(self, name: str) -> None:
            self._name = name

        def __repr__(self) -> str:
            return self._name

    Param = _Marker("Param")
    """Inject the path parameter with the argument's name."""

    Data = _Marker("Data")
    """Inject the item of `event.data` with the argument's name."""


@_runtime_checkable
class Injectable(Protocol):
    """A class that handlers can request by annotation; `from_event` returns its instance."""

    @classmethod
    def from_event(cls, event: AnyEvent) -> Any:
        """Return the value for an argument annotated with this class.

        :raises EventDataError: the event has no such value
        """


class Argument(NamedTuple):
    """An argument to plan."""

    where: str
    """The function and its place in the source, for messages."""
    name: str
    annotation: Any
    """The whole annotation, including `Annotated`."""
    extras: tuple[Any, ...]
    """The metadata of `Annotated`."""
    has_default: bool
    value: Any
    """Its default value, or None."""


planners: Final[list[Callable[[Argument], AsyncResolver | None]]] = []
"""Extensions of injection by sources. They are tried in order, at registration, for arguments that nothing else fills.
For an event of another source their resolver returns `Argument.value`."""


def check_coro_func(fn: CoroFunc) -> CoroFunc:
    """Return `fn` if it is a coroutine function.

    :raises TypeError: it is not; the message names it
    """
    if is_coro_func(fn):
        return fn
    kind = "an async generator" if inspect.isasyncgenfunction(fn) else "not a coroutine function"
    name = where(fn) if callable(fn) else repr(fn)
    raise TypeError(f"{name} is {kind}: hooks and handlers must be declared with `async def`")


class Hook:
    """A coroutine function with its injection plan.

    :param fn: a coroutine function
    :param params: names of the path parameters of its route; None for a function that serves many routes, whose
        `Param` arguments are looked up at each call
    :raises TypeError: `fn` is not a coroutine function
    :raises PathParamsError: `fn` uses a path parameter that is not in `params`
    :raises RouteError: an annotation of `fn` cannot be resolved, or a dependency cannot be planned
    """

    __slots__ = ("call", "fn", "name")

    def __init__(self, fn: CoroFunc, params: Collection[str] | None = None) -> None:
        self.fn: Final = check_coro_func(fn)
        self.name: Final = function_name(fn)
        self.call: Call = plan(fn, params)

    def __call__(self, event: AnyEvent) -> Awaitable[Any]:
        """Call the function with arguments from `event`."""
        return self.call(event)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"


class Dependency:
    """The result of `Depends(...)` in a signature: a function whose result is injected.

    Dependencies on the same function share one cached result in a context.

    :param timeout: seconds that the function may take; after that TimeoutError is raised and the handler does not run
    """

    __slots__ = ("fn", "timeout", "use_cache")

    def __init__(self, fn: CoroFunc, use_cache: bool = True, timeout: float | None = None) -> None:
        self.fn: Final = check_coro_func(fn)
        self.use_cache: Final = use_cache
        self.timeout: Final = timeout

    def __hash__(self) -> int:
        return hash(self.fn)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dependency) and self.fn == other.fn

    def __repr__(self) -> str:
        return f"Depends({function_name(self.fn)})"


if TYPE_CHECKING:
    # For a type checker, the default value of an argument has the type of the injected value.
    def Depends(  # noqa: N802
        fn: Callable[..., Coroutine[Any, Any, T]], use_cache: bool = True, timeout: float | None = None
    ) -> T: ...

    def depend(
        fn: Callable[..., Coroutine[Any, Any, T]], use_cache: bool = True, timeout: float | None = None
    ) -> T: ...

else:
    Depends = Dependency
    depend = Dependency


def plan(fn: Callable[..., Any], params: Collection[str] | None) -> Call:
    """Return a function that takes an event and calls `fn` with the injected arguments (see the module docstring)."""
    positional: list[Resolver | AsyncResolver] = []
    keywords: dict[str, Resolver | AsyncResolver] = {}
    for parameter in parameters_of(fn):
        resolver = _resolver(fn, parameter, params)
        if parameter.keyword_only:
            keywords[parameter.name] = resolver
        else:
            positional.append(resolver)
    return compose(fn, positional, keywords)


class _DependencyPlan(AsyncResolver):
    """A dependency within one plan. Its arguments are planned for the same route."""

    __slots__ = ("_call", "_dependency")

    def __init__(self, dependency: Dependency, params: Collection[str] | None) -> None:
        self._dependency = dependency
        self._call = plan(dependency.fn, params)

    async def __call__(self, event: AnyEvent) -> Any:
        dependency = self._dependency
        if not dependency.use_cache:
            return await self._result(event)
        cache, fn = event.cache, dependency.fn
        if fn in cache:
            return cache[fn]
        result = await (self._call(event) if dependency.timeout is None else self._result(event))
        event.cache[fn] = result  # not `cache`: it is replaced if the dependency used the context
        return result

    async def _result(self, event: AnyEvent) -> Any:
        async with asyncio.timeout(self._dependency.timeout):
            return await self._call(event)


def _resolver(fn: Callable[..., Any], parameter: Parameter, params: Collection[str] | None) -> Resolver | AsyncResolver:
    name, _, default, annotation = parameter
    marks = {id(default), id(annotation)}
    whole, extras = annotation, []
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        marks.update(map(id, extras))
        default = next((extra for extra in extras if isinstance(extra, Dependency)), default)
    if isinstance(default, Dependency):
        return _DependencyPlan(default, params)
    if id(Param) in marks:
        return _param(fn, name, params)
    if id(Data) in marks:
        return _data(fn, name)
    if (resolver := _of_class(annotation)) is not None:
        return resolver
    value = None if default is EMPTY else default
    if planners:
        has_default = default is not EMPTY
        argument = Argument(where(fn), name, whole, tuple(extras), has_default, value)
        for planner in planners:
            if (resolver := planner(argument)) is not None:
                return resolver
    return lambda _: value


def _of_class(annotation: Any) -> Resolver | None:
    """Return the resolver for a class: the event, its context, its error, or an `Injectable`; None for others."""
    for kind in classes_of(annotation):
        if issubclass(kind, Event):
            return the_event
        if issubclass(kind, Context):
            return _the_context
        if issubclass(kind, BaseException):
            return _error_of(tuple(kind for kind in classes_of(annotation) if issubclass(kind, BaseException)))
        # PERF: isinstance with the protocol `Injectable` takes longer than the rest of a plan.
        if (from_event := getattr(kind, "from_event", None)) is not None:
            return from_event  # type: ignore[no-any-return]
    return None


def classes_of(annotation: Any) -> list[type]:
    """Return the classes in an annotation such as `Event[MyContext]` or `Request | None`."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in classes_of(part)]
    kind = origin or annotation
    return [kind] if inspect.isclass(kind) else []


def _the_context(event: AnyEvent) -> Any:
    return event.ctx


def _error_of(kinds: tuple[type[BaseException], ...]) -> Resolver:
    def resolve(event: AnyEvent) -> Any:
        return event.error if isinstance(event.error, kinds) else None

    return resolve


def _param(fn: Callable[..., Any], name: str, params: Collection[str] | None) -> Resolver:
    if params is not None:
        if name not in params:
            known = ", ".join(sorted(params)) or "none"
            raise PathParamsError(
                f"{where(fn)} asks for the path parameter {name!r}, which its pattern lacks (it has: {known})"
            )
        return ParamOfRoute(name)

    def resolve(event: AnyEvent) -> Any:
        try:
            return event.params[name]
        except KeyError:
            known = ", ".join(sorted(event.params)) or "none"
            raise PathParamsError(
                f"{where(fn)} asks for the path parameter {name!r}, "
                f"which the pattern {event.route.path!r} lacks (it has: {known})"
            ) from None

    return resolve


def _data(fn: Callable[..., Any], name: str) -> Resolver:
    def resolve(event: AnyEvent) -> Any:
        try:
            return event.data[name]
        except KeyError:
            known = ", ".join(sorted(map(str, event.data))) or "none"
            raise EventDataError(
                f"{where(fn)} asks for the data item {name!r}, which the event {event.route.path!r} "
                f"was triggered without (it has: {known})"
            ) from None

    return resolve
