"""The options of a route: their types for checkers, and their checks at registration."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypedDict

from ...errors import RouteError

__all__ = ["EventOptions", "OptionCheck", "check_options", "seconds"]

OptionCheck = Callable[[Any], str | None]
"""Returns what a value must be if it is wrong, else None."""


class EventOptions(TypedDict, total=False):
    """The options of every route."""

    timeout: float
    """Seconds that the handler may take; then the event fails with TimeoutError (HTTP: 504)."""
    extra: Mapping[str, Any]
    """The application's own: stored as `route.opts["extra"]`."""


def seconds(value: Any) -> str | None:
    """Check a number of seconds."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return None if is_number and value > 0 else "a number of seconds above 0"


def mapping(value: Any) -> str | None:
    """Check a mapping."""
    return None if isinstance(value, Mapping) else "a dict"


EVENT_CHECKS: Final[dict[str, OptionCheck]] = {"timeout": seconds, "extra": mapping}


INSTEAD: Final = {
    "status_code": "return Response(body, status=201)",
    "response_model": "annotate what the handler returns",
    "response_class": "return a Response with content_type=, or annotate what the handler returns",
    "dependencies": "write an argument Depends(fn), or give them to a group, Group(dependencies=[Depends(fn)])",
    "methods": 'one decorator for each method, @app.get("/path"), @app.post("/path")',
}
"""What is right instead of options that others have."""


def check_options(where: str, options: Mapping[str, Any], checks: Mapping[str, OptionCheck], kind: str) -> None:
    """Check the options of a route.

    :param where: its handler and the place in the source
    :param checks: those that the route may have, by name
    :param kind: what has these options, for messages
    :raises RouteError: an option does not exist, or its value is wrong
    """
    for name, value in options.items():
        if name not in checks:
            if name in INSTEAD:
                raise RouteError(f"{where}: {kind} has no option {name!r}: {INSTEAD[name]}")
            near = difflib.get_close_matches(name, checks, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise RouteError(
                f"{where}: {kind} has no option {name!r}{hint} (options: {', '.join(sorted(checks))}; "
                f"your own belong into extra={{{name!r}: ...}})"
            )
        if (right := checks[name](value)) is not None:
            raise RouteError(f"{where}: the option {name} must be {right}, not {value!r}")
