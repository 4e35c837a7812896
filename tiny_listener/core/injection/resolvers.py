"""Resolvers: each returns the value of one argument from an event. What does not fit is a `Problem`."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from ...errors import EventDataError, PathParamsError
from .signatures import EMPTY

if TYPE_CHECKING:
    from ..aliases import AnyEvent

__all__ = [
    "MUTABLE",
    "Constant",
    "ConvertedParam",
    "ItemResolver",
    "ParamOfRoute",
    "Phase",
    "Problem",
    "Resolver",
    "TheEvent",
    "Unfit",
    "ValueOf",
    "error_makers",
    "error_of",
    "fresh",
]

MUTABLE: Final = (list, dict, set, bytearray)
"""Types of defaults that each event gets a copy of, so that no handler changes those of the next."""


def fresh(default: Any) -> Any:
    """Return a default value for one event."""
    return default.copy() if type(default) in MUTABLE else default


class Problem(NamedTuple):
    """A value that is missing or does not fit its argument.

    :ivar place: where it should be: `path`, `query`, `header`, `cookie`, `body` or `data`
    :ivar name: its name there; "" for the whole of a place
    :ivar path: where in the value: `$.items[0].count`; "" for the whole value
    :ivar message: what was wrong, and what would be right
    :ivar status: the status of an HTTP response for it
    """

    place: str
    name: str
    path: str
    message: str
    status: int = 422

    def __str__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        inside = f" at {self.path}" if self.path else ""
        return f"{self.place}{name}{inside}: {self.message}"


class Unfit(Exception):  # noqa: N818 - never leaves the plan: `error_of` makes the error that users see
    """Some arguments of a function cannot be resolved."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(*problems)
        self.problems = problems


error_makers: Final[list[Callable[[AnyEvent, list[Problem]], Exception | None]]] = []
"""Extensions by sources: each makes the error for its own events, and returns None for others."""


def error_of(event: AnyEvent, problems: list[Problem], where: str) -> Exception:
    """Return the error of an event whose values do not fit a function.

    :param where: the function and its place in the source
    """
    problems = list(dict.fromkeys(problems))
    for make in error_makers:
        if (error := make(event, problems)) is not None:
            return error
    text = "; ".join(map(str, problems))
    kind = PathParamsError if all(problem.place == "path" for problem in problems) else EventDataError
    return kind(f"{where} cannot handle this event of {event.route.path!r}: {text}")


class Phase(IntEnum):
    """When an argument is resolved. A client without access gets its refusal before its body is read or checked."""

    PATH = 0
    DEPENDENCY = 1
    FIELD = 2
    BODY = 3


class Resolver:
    """Returns the value of an argument.

    :cvar phase: when
    :cvar waits: whether `__call__` returns an awaitable of the value
    :cvar is_ours: whether it runs no application code
    :cvar may_fail: whether it may raise `Unfit`
    :cvar is_whole_body: whether it takes the whole body of a request
    """

    __slots__ = ()

    phase: ClassVar[Phase] = Phase.FIELD
    waits: ClassVar[bool] = False
    is_ours: ClassVar[bool] = True
    may_fail: ClassVar[bool] = False
    is_whole_body: ClassVar[bool] = False

    @property
    def of_requests(self) -> bool:
        """Whether only requests have such a value."""
        return False

    @property
    def has_exits(self) -> bool:
        """Whether something must be cleaned up after the event."""
        return False

    def __call__(self, event: AnyEvent) -> Any:
        """Return the value, or an awaitable of it.

        :raises Unfit: the event has no such value, or it does not fit
        """
        raise NotImplementedError


class TheEvent(Resolver):
    """The event itself."""

    __slots__ = ()
    phase = Phase.PATH

    def __call__(self, event: AnyEvent) -> Any:
        """Return the event."""
        return event


class Constant(Resolver):
    """A default value.

    :param value: the value
    """

    __slots__ = ("value",)
    phase = Phase.PATH

    def __init__(self, value: Any) -> None:
        self.value: Final = value

    def __call__(self, event: AnyEvent) -> Any:
        """Return the value."""
        return self.value


class ParamOfRoute(Resolver):
    """A path parameter that the route is known to have, as its convertor returned it.

    :param name: its name
    """

    __slots__ = ("name",)
    phase = Phase.PATH

    def __init__(self, name: str) -> None:
        self.name: Final = name

    def __call__(self, event: AnyEvent) -> Any:
        """Return the parameter."""
        return event.params[self.name]


class ValueOf(Resolver):
    """The result of a function of the event, which may run application code: its context, a class with `from_event`.

    :param function: called with the event
    :param is_optional: whether the value is None for an event that has none
    """

    __slots__ = ("_function", "_is_optional")
    phase = Phase.DEPENDENCY
    is_ours = False

    def __init__(self, function: Callable[[AnyEvent], Any], *, is_optional: bool = False) -> None:
        self._function = function
        self._is_optional = is_optional

    def __call__(self, event: AnyEvent) -> Any:
        """Return the value.

        :raises EventDataError: the event has none
        """
        if not self._is_optional:
            return self._function(event)
        try:
            return self._function(event)
        except EventDataError:
            return None


class ItemResolver(Resolver):
    """A value from one place of an event, converted; for several places see the subclasses.

    :param place: see `Problem`
    :param name: its name there
    :param annotation: the type that it is converted to, for descriptions
    :param convert: converts it; raises ValueError with what would be right
    :param default: used if it is missing; `EMPTY`: it must be there
    """

    __slots__ = ("_convert", "_is_mutable", "annotation", "default", "has_default", "name", "place")
    may_fail = True

    def __init__(
        self, place: str, name: str, annotation: Any, convert: Callable[[Any], Any], *, default: Any = EMPTY
    ) -> None:
        self.place: Final = place
        self.name: Final = name
        self.annotation: Final = annotation
        self._convert: Final = convert
        self.default: Final = default
        self._is_mutable = type(default) in MUTABLE
        self.has_default: Final = default is not EMPTY

    def unfit(self, message: str, *, status: int = 422, name: str | None = None) -> Unfit:
        """Return the exception for a value that does not fit."""
        return Unfit([Problem(self.place, self.name if name is None else name, "", message, status)])

    def missing(self) -> Any:
        """Return the default.

        :raises Unfit: there is none
        """
        if self.has_default:
            return self.default.copy() if self._is_mutable else self.default
        raise self.unfit("missing")

    def converted(self, value: Any) -> Any:
        """Return a value that was found, converted.

        :raises Unfit: it does not fit
        """
        try:
            return self._convert(value)
        except ValueError as exc:
            raise self.unfit(str(exc)) from None


class ConvertedParam(ItemResolver):
    """A path parameter that is converted to the type of its argument. PERF: generated code calls the conversion."""

    __slots__ = ()
    phase = Phase.PATH

    @property
    def convert(self) -> Callable[[Any], Any]:
        """The conversion, which raises ValueError."""
        return self._convert

    def __call__(self, event: AnyEvent) -> Any:
        """See `Resolver`."""
        try:
            return self._convert(event.params[self.name])
        except ValueError as exc:
            raise Unfit([Problem(self.place, self.name, "", str(exc), 404)]) from None
