"""Arguments from the event itself: its path parameters (`Param`), its data (`Data`), or all of its data as one type."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from ...errors import PathParamsError
from .conversion import Convert, an, name_of, text_convertor, value_convertor, without_none
from .markers import Argument, Marker, marker_in
from .resolvers import ConvertedParam, ItemResolver, ParamOfRoute, Phase, Resolver, Unfit
from .signatures import EMPTY

if TYPE_CHECKING:
    from ..aliases import AnyEvent

__all__ = ["Data", "Param", "hint_of_item", "plan_data", "plan_param", "plan_payload"]

if TYPE_CHECKING:

    class Param(Any):  # type: ignore[misc]
        """The path parameter with the argument's name, or the given one."""

        def __new__(cls, name: str | None = None, *, default: Any = ...) -> Any: ...

    class Data(Any):  # type: ignore[misc]
        """The item of `event.data` with the argument's name, or the given one."""

        def __new__(cls, name: str | None = None, *, default: Any = ...) -> Any: ...

else:

    class Param(Marker):
        """The path parameter with the argument's name, or the given one."""

        __slots__ = ()

        def plan(self, argument: Argument) -> Resolver:
            """See `Marker`."""
            return plan_param(argument, self.name or argument.name)

    class Data(Marker):
        """The item of `event.data` with the argument's name, or the given one."""

        __slots__ = ()

        def plan(self, argument: Argument) -> Resolver:
            """See `Marker`."""
            return plan_data(argument, self.name or argument.name)


class _AnyPathItem(ItemResolver):
    """A path parameter for a function that serves many routes."""

    __slots__ = ("_where",)
    phase = Phase.PATH

    def __init__(self, argument: Argument, name: str) -> None:
        super().__init__("path", name, argument.kind, _of_text_or_value(argument), default=argument.default)
        self._where = argument.where

    def __call__(self, event: AnyEvent) -> Any:
        """See `Resolver`.

        :raises PathParamsError: the pattern of the event has no such parameter
        """
        if self.name in event.params:
            return self.converted(event.params[self.name])
        if self.has_default:
            return self.default
        known = ", ".join(sorted(event.params)) or "none"
        raise PathParamsError(
            f"{self._where} asks for the path parameter {self.name!r}, "
            f"which the pattern {event.route.path!r} lacks (it has: {known})"
        )


def plan_param(argument: Argument, name: str) -> Resolver:
    """Return the resolver for a path parameter.

    :raises PathParamsError: the pattern has no such parameter
    :raises RouteError: it never has the type of the argument
    """
    convertors = argument.place.convertors
    if convertors is None:
        return _AnyPathItem(argument, name)
    if name not in convertors:
        known = ", ".join(sorted(convertors)) or "none"
        raise PathParamsError(
            f"{argument.where} asks for the path parameter {name!r}, which its pattern lacks (it has: {known})"
        )
    given = convertors[name].convert
    wanted = without_none(argument.annotation)
    if wanted in (EMPTY, Any, object, given) or not isinstance(given, type):
        return ParamOfRoute(name)  # what a convertor of the application returns is its business
    convert = text_convertor(wanted) if given is str else _from(given, wanted)
    if convert is None:
        raise argument.wrong(_wrong_type(name, given, wanted))
    return ConvertedParam("path", name, wanted, convert)


def _from(given: type, wanted: Any) -> Convert | None:
    """Return the conversion of a value that the router has converted already; None if it never fits."""
    if (given, wanted) == (int, float):
        return _float_of
    base = get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted
    if base is given or (
        isinstance(base, type) and issubclass(base, Enum) and all(type(m.value) is given for m in base)
    ):
        return value_convertor(wanted)
    return None


def _float_of(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("must be a finite number") from None


def _wrong_type(name: str, given: type, wanted: Any) -> str:
    of = name_of(wanted)
    if given is str:
        return (
            f"is a path parameter, and no text of a path is {an(of)}: annotate it with str, int, float, bool, UUID, "
            "date or an Enum"
        )
    return (
        f"is {an(of)}, but {{{name}:{given.__name__.lower()}}} is {an(given.__name__)}: "
        f"write {name}: {given.__name__}, or {{{name}}} in the pattern"
    )


class _DataItem(ItemResolver):
    """An item of `event.data`."""

    __slots__ = ()

    def __call__(self, event: AnyEvent) -> Any:
        """See `Resolver`."""
        try:
            value = event.data[self.name]
        except KeyError:
            if self.has_default:
                return self.missing()
            known = ", ".join(sorted(map(str, event.data))) or "none"
            raise self.unfit(f"missing, the event was triggered without it (it has: {known})") from None
        return self.converted(value)


class _Payload(ItemResolver):
    """The whole of `event.data`, as one type."""

    __slots__ = ()
    phase = Phase.BODY

    def __call__(self, event: AnyEvent) -> Any:
        """See `Resolver`."""
        payload = event.payload
        if not payload and self.has_default:
            return self.default
        try:
            return self.converted(payload)
        except Unfit as exc:
            raise self.unfit(exc.problems[0].message + hint_of_item(event.data, self.annotation)) from None


def hint_of_item(data: Mapping[str, Any], kind: Any) -> str:
    """Return what to add to the message for data that does not fit a type, if one of its items has that type."""
    name = next((name for name, value in data.items() if type(value) is kind), None)
    if name is None:
        return ""
    return (
        f"; an argument of this type gets all of the data: for the item {name!r} write Annotated[{kind.__name__}, Data]"
    )


def plan_data(argument: Argument, name: str) -> Resolver:
    """Return the resolver for an item of `event.data`."""
    wanted = argument.annotation
    convert = _as_it_is if wanted is EMPTY or isinstance(marker_in(wanted), Marker) else value_convertor(wanted)
    return _DataItem("data", name, wanted, convert, default=argument.default)


def plan_payload(argument: Argument) -> Resolver:
    """Return the resolver for the whole of `event.data`."""
    return _Payload("data", "", argument.kind, value_convertor(argument.annotation), default=argument.default)


def _of_text_or_value(argument: Argument) -> Convert:
    """Return the conversion of a path parameter whose convertor is not known."""
    wanted = without_none(argument.annotation)
    if wanted in (EMPTY, Any, object):
        return _as_it_is
    from_text = text_convertor(wanted)
    from_value = value_convertor(wanted)

    def convert(value: Any) -> Any:
        return from_text(value) if from_text is not None and isinstance(value, str) else from_value(value)

    return convert


def _as_it_is(value: Any) -> Any:
    return value
