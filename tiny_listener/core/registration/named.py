"""Events that are named by their route and their parameters, instead of by a text that a pattern matches."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from ...errors import EventNotFound, PathParamsError

if TYPE_CHECKING:
    from .route import Route

__all__ = ["NamedEvent", "name_event"]

TYPES: Final[dict[Any, tuple[type, ...]]] = {
    str: (str,), int: (int,), float: (float, int), uuid.UUID: (uuid.UUID,)
}  # fmt: skip
"""The types of a parameter's values, by the conversion of its convertor."""


class NamedEvent:
    """An event to trigger: a pattern, and the values of its parameters. Made by `Listener.event`.

    Nothing is parsed back from a text, so a value may have any characters.

    :param route: the route of the pattern
    :param params: the values by name
    """

    __slots__ = ("params", "route")

    def __init__(self, route: Route, params: dict[str, Any]) -> None:
        self.route: Final = route
        self.params: Final = params

    @property
    def path(self) -> str:
        """The pattern."""
        return self.route.path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedEvent) and (self.route, self.params) == (other.route, other.params)

    def __hash__(self) -> int:
        return hash(self.route)

    def __repr__(self) -> str:
        params = "".join(f", {name}={value!r}" for name, value in self.params.items())
        return f"event({self.path!r}{params})"


def name_event(routes: Iterable[Route], pattern: str, params: dict[str, Any]) -> NamedEvent:
    """Return the event of a pattern.

    :raises EventNotFound: no route has this pattern
    :raises PathParamsError: a parameter is missing or unknown
    :raises TypeError: a value has another type than those that the router would pass
    """
    by_path = {route.path: route for route in routes}
    route = by_path.get(pattern)
    if route is None:
        near = difflib.get_close_matches(pattern, by_path, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; write the pattern as it was registered"
        raise EventNotFound(f"No route has the pattern {pattern!r}{hint}")
    wrong = params.keys() ^ route.convertors.keys()
    if wrong:
        what = "is missing" if wrong <= route.convertors.keys() else "does not exist"
        name = min(wrong)
        known = ", ".join(route.convertors) or "none"
        raise PathParamsError(f"the parameter {name!r} of {pattern!r} {what} (it has: {known})")
    for name, value in params.items():
        types = TYPES.get(route.convertors[name].convert)
        if types is not None and (not isinstance(value, types) or isinstance(value, bool)):
            raise TypeError(
                f"the parameter {name!r} of {pattern!r} must be {types[0].__name__}, "
                f"not {type(value).__name__}: {value!r}"
            )
    return NamedEvent(route, params)
