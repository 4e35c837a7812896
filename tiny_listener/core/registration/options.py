"""The options of a route: their types for checkers, and their checks at registration."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypedDict

from ...errors import RouteError
from ...events.policy import Retry

__all__ = [
    "EVENT_CHECKS",
    "PUBLISHED_CHECKS",
    "ROUTE_CHECKS",
    "EventOptions",
    "OptionCheck",
    "RouteOptions",
    "check_options",
    "flag",
    "seconds",
]

OptionCheck = Callable[[Any], str | None]
"""Returns what a value must be if it is wrong, else None."""


class RouteOptions(TypedDict, total=False):
    """The options of every route."""

    timeout: float
    """Seconds that the handler may take; then the event fails with TimeoutError (HTTP: 504)."""
    extra: Mapping[str, Any]
    """The application's own: stored as `route.opts["extra"]`."""


class EventOptions(RouteOptions, total=False):
    """The options of routes for other events than requests; those here concern published events."""

    retry: Retry
    """When an event is tried again whose handler failed; by default never."""
    concurrency: int
    """Events of this route in flight at one worker; by default as many as `--events-concurrency`."""
    serial: bool
    """Whether events of one key are handled one at a time, in their order; by default True."""
    ack: Literal["after", "before"]
    """Whether an event is settled after its handler (at least once, the default) or before it (at most once)."""
    dead_letter: Literal["next", "halt"]
    """Whether the key goes on when one of its events is given up (the default), or waits for an operator."""


def seconds(value: Any) -> str | None:
    """Check a number of seconds."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    is_right = is_number and value > 0 and (value <= sys.float_info.max or value == math.inf)
    return None if is_right else "a number of seconds above 0"


def mapping(value: Any) -> str | None:
    """Check a mapping."""
    return None if isinstance(value, Mapping) else "a dict"


def policy(value: Any) -> str | None:
    """Check when to try again."""
    return None if isinstance(value, Retry) else "a Retry, such as Retry(max_attempts=5, first=1)"


def count(value: Any) -> str | None:
    """Check a number of events."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return None if is_number and 1 <= value <= sys.maxsize else "a whole number from 1"


def flag(value: Any) -> str | None:
    """Check a flag."""
    return None if isinstance(value, bool) else "True or False"


def one_of(*texts: str) -> OptionCheck:
    """Return the check of a text that is one of some."""

    def check(value: Any) -> str | None:
        return None if isinstance(value, str) and value in texts else " or ".join(map(repr, texts))

    return check


ROUTE_CHECKS: Final[dict[str, OptionCheck]] = {"timeout": seconds, "extra": mapping}
PUBLISHED_CHECKS: Final[dict[str, OptionCheck]] = {
    "retry": policy,
    "concurrency": count,
    "serial": flag,
    "ack": one_of("after", "before"),
    "dead_letter": one_of("next", "halt"),
}
"""Options that concern published events only."""
EVENT_CHECKS: Final[dict[str, OptionCheck]] = {**ROUTE_CHECKS, **PUBLISHED_CHECKS}


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
            if name in PUBLISHED_CHECKS:
                raise RouteError(
                    f"{where}: {kind} has no option {name!r}, which is for published events: publish one from the "
                    "handler, await app.publish(...), and give the option to its route"
                )
            near = difflib.get_close_matches(name, checks, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise RouteError(
                f"{where}: {kind} has no option {name!r}{hint} (options: {', '.join(sorted(checks))}; "
                f"your own belong into extra={{{name!r}: ...}})"
            )
        if (right := checks[name](value)) is not None:
            raise RouteError(f"{where}: the option {name} must be {right}, not {value!r}")
