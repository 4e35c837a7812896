"""Markers in a signature for where an argument comes from, and the extensions of injection by sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from ...errors import RouteError
from .resolvers import Resolver
from .signatures import EMPTY

if TYPE_CHECKING:
    from ...router import Convertor

__all__ = ["Argument", "Marker", "Place", "class_planners", "marker_in", "planners", "request_patterns"]

request_patterns: Final[list[Callable[[str], bool]]] = []
"""Extensions by sources: whether a pattern is that of requests, whose arguments may be fields of a request."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a function is used, which decides what its arguments may be.

    :ivar convertors: the path parameters of its route; None: it serves many routes
    :ivar is_http: whether all its events are requests
    :ivar errors: the class of errors that it handles; None: it handles none
    """

    convertors: Mapping[str, Convertor] | None = None
    is_http: bool = False
    errors: type[BaseException] | None = None


class Argument(NamedTuple):
    """An argument to plan."""

    where: str
    """The function and its place in the source, for messages."""
    name: str
    annotation: Any
    """Its annotation, with the limits of `Annotated[T, msgspec.Meta(...)]`; `EMPTY` without one."""
    kind: Any
    """The annotation without `Annotated`."""
    extras: tuple[Any, ...]
    """The metadata of `Annotated`."""
    default: Any
    """Its default value, or `EMPTY`."""
    place: Place

    @property
    def has_default(self) -> bool:
        """Whether it has a default value."""
        return self.default is not EMPTY

    def wrong(self, message: str) -> RouteError:
        """Return the error for an argument that cannot be planned."""
        return RouteError(f"{self.where}: the argument {self.name!r} {message}")


planners: Final[list[Callable[[Argument], Resolver | None]]] = []
"""Extensions of injection by sources. They are tried in order, at registration, for arguments that only their type
describes."""
class_planners: Final[list[Callable[[Argument], Resolver | None]]] = []
"""Extensions by sources: the resolver of a class that is a value of their events."""


class Marker:
    """Says where an argument comes from: as its default, or in `Annotated[T, Marker]`; with or without a call.

    :param name: the name there; by default that of the argument
    :param default: used if there is no such value
    """

    __slots__ = ("default", "name")
    of_request: ClassVar[bool] = False
    """Whether only requests have such values."""

    def __init__(self, name: Any = EMPTY, *, default: Any = EMPTY, **unknown: Any) -> None:
        kind = type(self).__name__
        if unknown:
            raise TypeError(f"{kind}() takes a name and default=, not {', '.join(unknown)}: {_instead(kind, unknown)}")
        if name is not EMPTY and not isinstance(name, str):
            if name is ...:
                raise TypeError(f"{kind}(...): what has no default must be there: write {kind}()")
            raise TypeError(
                f"{kind}({name!r}): the first argument is the name; for a default value write "
                f"{kind}(default={name!r}), or Annotated[T, {kind}] = {name!r}"
            )
        self.name: Final[str | None] = name if isinstance(name, str) else None
        self.default: Final = default

    def plan(self, argument: Argument) -> Resolver:
        """Return the resolver of an argument.

        :raises RouteError: it cannot come from there
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.name is None else repr(self.name)})"


def _instead(kind: str, unknown: Mapping[str, Any]) -> str:
    if "alias" in unknown:
        return f"write the name first, {kind}({unknown['alias']!r})"
    if "embed" in unknown:
        return "make it a field of a Struct or dataclass, which is the whole body"
    limits = ", ".join(f"{name}={value!r}" for name, value in unknown.items())
    return f"write Annotated[T, {kind}, msgspec.Meta({limits})] if they are limits or descriptions"


def marker_in(value: Any) -> Marker | None:
    """Return the marker that a default value, an annotation or a piece of metadata is; None if it is none."""
    if isinstance(value, Marker):
        return value
    if isinstance(value, type) and issubclass(value, Marker):
        return value()
    return None
