"""The totals by route for the status page, reduced to the numbers that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from .row import NANOSECONDS
from .series import (
    DISPATCH,
    EVENTS,
    EVENTS_NOT_FOUND,
    HTTP_DURATION,
    OTHER_STATUS,
    OUTCOMES,
    Series,
    http_route,
    method_label,
)
from .steps import VALUES, Steps, finish

__all__ = ["Counts", "RouteCounts", "count", "counts_of"]

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
"""Classes of status codes (RFC 9110, 15). Other status codes are not counted here."""


class RouteCounts(msgspec.Struct, frozen=True):
    """The events of one route since the server started.

    :ivar event: the pattern of the route
    :ivar buckets: number of dispatches with a duration up to each of `Counts.bounds`, and above the bound before it;
        then those longer than all. Not cumulative
    :ivar seconds: their total duration
    :ivar outcomes: number of dispatches by outcome: ok, error, timeout, cancelled, rejected
    :ivar responses: HTTP responses by class of their status, such as 2xx; only classes that occurred
    """

    event: str
    buckets: Sequence[int]
    seconds: float
    outcomes: dict[str, int]
    responses: dict[str, int]


class Counts(msgspec.Struct, frozen=True):
    """Counts of all workers since the server started, including dead workers.

    :ivar bounds: upper bounds of the routes' buckets, in seconds
    :ivar routes: in the order in which they were first seen
    :ivar not_found: events that matched no route
    :ivar unrouted: HTTP responses without a route, by class of their status
    """

    bounds: Sequence[float]
    routes: list[RouteCounts]
    not_found: int
    unrouted: dict[str, int]


def counts_of(totals: Mapping[Series, Sequence[int]]) -> Counts:
    """Run all of `count`."""
    return finish(count(totals))


def count(totals: Mapping[Series, Sequence[int]]) -> Steps[Counts]:
    """Return the counts that the totals of a ledger hold.

    A route is included from its registration on, with zeros.
    """
    outcomes: dict[str, Sequence[int]] = {}
    dispatched: dict[str, Sequence[int]] = {}
    for number, (series, words) in enumerate(totals.items(), 1):
        if series.family == EVENTS.name:
            outcomes[series.labels[0]] = words
        elif series.family == DISPATCH.name:
            dispatched[series.labels[0]] = words
        if number % VALUES == 0:
            yield
    responses: dict[str, dict[str, int]] = {event: {} for event in dispatched}
    unrouted: dict[str, int] = {}
    owners = _owners(dispatched)
    yield
    for number, (series, words) in enumerate(totals.items(), 1):
        if series.family == HTTP_DURATION.name:
            method, route, status = series.labels
            owner = _owner(owners, method, route)
            found = responses[owner] if owner is not None else unrouted
            if status != OTHER_STATUS and (group := f"{status[:1]}xx") in CLASSES:
                found[group] = found.get(group, 0) + sum(words[1:])
        if number % VALUES == 0:
            yield
    routes = []
    for number, (event, words) in enumerate(dispatched.items(), 1):
        ended = outcomes.get(event, (0,) * len(OUTCOMES))
        of_event: dict[str, int] = dict(zip(OUTCOMES, ended, strict=True))
        routes.append(RouteCounts(event, words[1:], words[0] / NANOSECONDS, of_event, responses[event]))
        if number % VALUES == 0:
            yield
    not_found = totals.get(EVENTS_NOT_FOUND.overflow, (0,))[0]
    return Counts(DISPATCH.bounds, routes, not_found, unrouted)


def _owners(events: Mapping[str, object]) -> dict[tuple[str, str], str]:
    """Return the event for each method and route of responses; "" stands for any method without its own route. If two
    routes differ only in methods that are counted as `_OTHER`, the later one gets the responses of both.
    """
    owners: dict[tuple[str, str], str] = {}
    for event in events:
        route = http_route(event)
        method = event[: len(event) - len(route)].removesuffix(":")
        owners[method and method_label(method), route] = event
    return owners


def _owner(owners: Mapping[tuple[str, str], str], method: str, route: str) -> str | None:
    """Return the event of a response's route; None: no route. GET serves HEAD too (RFC 9110, 9.3.2)."""
    tries = (method, "GET", "") if method == "HEAD" else (method, "")
    return next((owners[one, route] for one in tries if (one, route) in owners), None)
