"""The options of routes that concern published events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...errors import RouteError
from ...events.envelope import plain
from ...events.policy import RouteTerms
from ..registration.options import PUBLISHED_CHECKS

if TYPE_CHECKING:
    from ..registration import Route

__all__ = ["options_of", "terms_of"]


def options_of(route: Route) -> dict[str, Any]:
    """Return the options of a route that concern published events.

    Those of subscribers concern the event of all of them.

    :raises RouteError: two subscribers contradict each other
    """
    found: dict[str, Any] = {}
    for one in getattr(route, "subscribers", (route,)):
        for name, value in one.opts.items():
            if name not in PUBLISHED_CHECKS:
                continue
            if name in found and found[name] != value:
                raise RouteError(
                    f"{one.where}: {name}= is that of the event {route.path!r}, which all its subscribers share: "
                    "give it to one of them"
                )
            found[name] = value
    return found


def terms_of(routes: Iterable[Route]) -> dict[str, RouteTerms] | None:
    """Return what the carrier must know of the routes, by pattern; None: none of them is for published events."""
    terms = {}
    for route in routes:
        if route.is_http:
            continue
        options = options_of(route)
        terms[plain(route.path)] = RouteTerms(
            options.get("concurrency"), options.get("dead_letter") == "halt", options.get("ack") == "before"
        )
    return terms or None
