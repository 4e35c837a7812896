"""Plans the arguments of a function once, when it is registered.

For each parameter the first rule that applies:

* annotated `Event`, `Context`, an exception class (in an error handler), or a class with `from_event` such as
  `Request`: that; with `| None` it is None for an event that has none;
* `Depends(fn)` as default or in `Annotated`: the result of the dependency;
* a marker (`Param`, `Data`, those of HTTP): the value from there, converted to the annotation;
* a name that the pattern has: the path parameter, converted to the annotation;
* one of the `planners` of sources: the body or the query of a request, by type;
* a Struct, a dataclass, a TypedDict: all data of the event; a type that is one text: the item of that name;
* anything else: its default, or an error that says what would be right.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Union, get_args, get_origin
from typing import runtime_checkable as _runtime_checkable

import msgspec

from ...errors import RouteError
from ..context import Context
from ..event import Event
from .codegen import Filled
from .conversion import is_optional, name_of, one_or_list, without_none
from .dependencies import Dependency, DependencyResolver
from .event_values import plan_data, plan_param, plan_payload
from .markers import Argument, Marker, Place, class_planners, marker_in, planners
from .resolvers import Constant, Resolver, TheEvent, ValueOf
from .signatures import EMPTY, Parameter, is_async_gen_func, is_coro_func, parameters_of, where

if TYPE_CHECKING:
    from ..aliases import AnyEvent

__all__ = ["Injectable", "classes_of", "fill", "is_payload"]

HINTS = {
    "Response": "a handler returns it; a hook of @app.on_response gets it",
    "Upload": "a form is read by `await request.form()`",
    "Form": "a form is read by `await request.form()`",
    "BackgroundTasks": "trigger an event, app.trigger_event(...), whose handler goes on after the response",
    "HTTPListener": "take event: Event, and its event.listener",
    "Listener": "take event: Event, and its event.listener",
}
"""What is right instead of a class that cannot be injected, by its name."""


@_runtime_checkable
class Injectable(Protocol):
    """A class that handlers can request by annotation; `from_event` returns its instance."""

    @classmethod
    def from_event(cls, event: AnyEvent) -> Any:
        """Return the value for an argument annotated with this class.

        :raises EventDataError: the event has no such value
        """


def fill(fn: Callable[..., Any], place: Place, dependencies: Sequence[Dependency] = ()) -> list[Filled]:
    """Return the parameters of a function with their resolvers; first those of `dependencies`.

    :raises RouteError: an argument cannot be resolved
    """
    filled = [
        Filled(f"_dependency{number}", _of_group(fn, dependency, place), is_passed=False)
        for number, dependency in enumerate(dependencies)
    ]
    bodies: list[str] = []
    for parameter in parameters_of(fn):
        resolver = _resolver(fn, parameter, place)
        if resolver.is_whole_body:
            bodies.append(parameter.name)
        filled.append(Filled(parameter.name, resolver, parameter.keyword_only))
    if len(bodies) > 1:
        names = " and ".join(map(repr, bodies))
        raise Argument(where(fn), bodies[1], None, None, (), EMPTY, place).wrong(
            f"is the whole body, and so is {bodies[0]!r}: make {names} fields of one Struct or dataclass"
        )
    return filled


def _dependency(dependency: Dependency, place: Place) -> DependencyResolver:
    return DependencyResolver(dependency, lambda fn: fill(fn, place))


def _of_group(fn: Callable[..., Any], dependency: Dependency, place: Place) -> DependencyResolver:
    try:
        return _dependency(dependency, place)
    except RouteError as exc:
        raise RouteError(
            f"{exc}; it runs before {where(fn)} because a group has it among its dependencies: a handler that it is "
            "not for belongs into another group"
        ) from None


def _resolver(fn: Callable[..., Any], parameter: Parameter, place: Place) -> Resolver:
    name, _, default, annotation = parameter
    annotation = _unnested(annotation)
    kind, extras = annotation, tuple[Any, ...]()
    if get_origin(annotation) is Annotated:
        kind, *more = get_args(annotation)
        extras = tuple(more)
        limits = tuple(extra for extra in extras if isinstance(extra, msgspec.Meta))
        annotation = Annotated[(kind, *limits)] if limits else kind
    _refuse_forgotten_depends(fn, parameter, extras)
    if isinstance(default, Dependency):
        return _dependency(default, place)
    marker = marker_in(default)
    if marker is not None:
        default = marker.default
    for extra in extras:
        if isinstance(extra, Dependency):
            return _dependency(extra, place)
        marker = marker or marker_in(extra)
    marker = marker or marker_in(annotation)
    if marker is not None and default is EMPTY:
        default = marker.default
    if marker is not None and marker_in(kind) is not None:
        annotation = kind = EMPTY  # `name: Param` gives no type
    argument = Argument(where(fn), name, annotation, kind, extras, default, place)
    if marker is not None:
        return _marked(argument, marker)
    resolver = _of_class(argument) or _of_name_or_type(argument)
    if resolver is not None:
        return resolver
    if default is not EMPTY:
        return Constant(default)
    raise argument.wrong(_advice(argument))


def _refuse_forgotten_depends(fn: Callable[..., Any], parameter: Parameter, extras: tuple[Any, ...]) -> None:
    """Refuse a function, or Depends itself, where a dependency was meant: the function would be the value. Refuse two
    sources of one argument.
    """
    name, _, default, annotation = parameter
    argument = Argument(where(fn), name, annotation, None, (), default, Place())
    sources = [one for one in (*extras, default) if isinstance(one, Dependency) or marker_in(one) is not None]
    if len(sources) > 1:
        names = " and ".join(getattr(one, "__name__", repr(one)) for one in sources)
        raise argument.wrong(f"comes from {names}: keep one of them")
    if default is Dependency or Dependency in extras:
        raise argument.wrong("has Depends without a function: write Depends(fn)")
    for one in (default, *extras):
        if isinstance(one, FunctionType) and (is_coro_func(one) or is_async_gen_func(one)):
            raise argument.wrong(f"has the function {one.__name__} itself: write Depends({one.__name__})")


def _unnested(annotation: Any) -> Any:
    """Return `Annotated[T | None, Header]` for `Annotated[T, Header] | None`: it says where the argument comes from.
    Of an alias (`type Id = int`, PEP 695) return what it stands for.
    """
    while type(annotation).__name__ == "TypeAliasType":
        annotation = annotation.__value__
    if get_origin(annotation) is Annotated:
        return annotation
    inner = without_none(annotation)
    if inner is annotation or get_origin(inner) is not Annotated:
        return annotation
    kind, *extras = get_args(inner)
    if not any(isinstance(extra, Dependency) or marker_in(extra) is not None for extra in extras):
        return annotation  # limits, such as those of msgspec.Meta, concern the type alone
    return Annotated[(kind | None, *extras)]


def _marked(argument: Argument, marker: Marker) -> Resolver:
    if marker.of_request and not argument.place.is_http and argument.place.convertors is not None:
        raise argument.wrong(
            f"is a {type(marker).__name__} of a request, and no request has this event: take it from the event by Data"
        )
    return marker.plan(argument)


def _of_name_or_type(argument: Argument) -> Resolver | None:
    convertors = argument.place.convertors
    if convertors is not None and argument.name in convertors:
        return plan_param(argument, argument.name)
    for planner in planners:
        if (resolver := planner(argument)) is not None:
            return resolver
    if is_payload(argument.kind):
        return plan_payload(argument)
    is_item = argument.annotation is not EMPTY and (
        argument.kind is bytes or one_or_list(argument.annotation) is not None
    )
    if is_item and argument.place.is_http and not argument.has_default:
        raise argument.wrong(
            "is bytes, which no field of a request is: take request: Request, and its `await request.body()`"
        )
    if convertors is not None and is_item and not argument.place.is_http:
        return plan_data(argument, argument.name)
    return None


def _of_class(argument: Argument) -> Resolver | None:
    """Return the resolver for a class: the event, its context, its error, or an `Injectable`; None for others."""
    kinds = classes_of(argument.kind)
    for planner in class_planners:
        if (resolver := planner(argument)) is not None:
            return resolver
    for kind in kinds:
        if issubclass(kind, Event):
            return TheEvent()
        if issubclass(kind, Context):
            return ValueOf(_the_context)
        if issubclass(kind, BaseException):
            return _error_of(argument, tuple(kind for kind in kinds if issubclass(kind, BaseException)))
        # PERF: isinstance with the protocol `Injectable` takes longer than the rest of a plan.
        if (from_event := getattr(kind, "from_event", None)) is not None:
            make = getattr(kind, "plan_argument", None)  # a source's own class knows a cheaper way
            optional = is_optional(argument.kind)
            if make is not None:
                return make(is_optional=optional)  # type: ignore[no-any-return]
            return ValueOf(from_event, is_optional=optional)
    return None


def classes_of(annotation: Any) -> list[type]:
    """Return the classes in an annotation such as `Event[MyContext]` or `Request | None`."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in classes_of(part)]
    kind = origin or annotation
    return [kind] if inspect.isclass(kind) and kind is not EMPTY else []


def _the_context(event: AnyEvent) -> Any:
    return event.ctx


def _error_of(argument: Argument, kinds: tuple[type[BaseException], ...]) -> Resolver:
    handled = argument.place.errors
    names = " | ".join(kind.__name__ for kind in kinds)
    if handled is None:
        raise argument.wrong(f"is an exception ({names}), which only a function of @app.on_error({names}) gets")
    if not any(issubclass(handled, kind) for kind in kinds) and not is_optional(argument.kind):
        raise argument.wrong(
            f"is {names}, but the function handles {handled.__name__}: write {handled.__name__}, or {names} | None"
        )

    def resolve(event: AnyEvent) -> Any:
        return event.error if isinstance(event.error, kinds) else None

    return ValueOf(resolve)


def is_payload(annotation: Any) -> bool:
    """Whether an annotation is a type that describes a whole body: a Struct, a dataclass or a TypedDict, or a union of
    such.
    """
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return bool(parts) and all(is_payload(part) for part in parts)
    kind = origin or annotation
    if not inspect.isclass(kind):
        return False
    is_typed_dict = issubclass(kind, dict) and hasattr(kind, "__required_keys__")  # of typing, or typing_extensions
    return issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind) or is_typed_dict


def _advice(argument: Argument) -> str:
    """Return why an argument cannot be resolved, and what would be right."""
    name, annotation, place = argument.name, argument.annotation, argument.place
    if annotation is EMPTY:
        known = {"event": "Event", "ctx": "Context", "request": "Request"}
        if name in known:
            return f"has no annotation: write {name}: {known[name]}"
    if (hint := HINTS.get(getattr(argument.kind, "__name__", ""))) is not None:
        return f"({name_of(annotation)}) cannot be injected: {hint}"
    ways = list(_ways(place))
    typed = "has no annotation and no default" if annotation is EMPTY else f"({name_of(annotation)}) cannot be injected"
    return f"{typed}: {'; '.join(ways)}; or give it a default"


def _ways(place: Place) -> Iterator[str]:
    if place.convertors is None:
        yield "a function for many routes says where its arguments come from, such as Annotated[str, Param]"
    else:
        known = ", ".join(place.convertors) or "none"
        yield f"the pattern has no such parameter (it has: {known})"
        what = "a query field" if place.is_http else "an item of event.data"
        yield f"{what} has a type such as str, int or list[str]"
        yield f"a Struct, dataclass or TypedDict is the {'body' if place.is_http else 'data'}"
        if place.is_http:
            yield "any other type is with Annotated[T, Body]"
    yield "anything else comes from Depends(fn)" + ("" if place.is_http else ", or from Annotated[T, Data]")
