"""What has been counted, for a page that people look at: the totals by route, and as few numbers as that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from .row import NANOSECONDS
from .series import DISPATCH, EVENTS, HTTP_DURATION, NOT_FOUND, OTHER_STATUS, OUTCOMES, Series, http_route, method_label
from .steps import VALUES, Steps, finish

__all__ = ["Counts", "RouteCounts", "count", "counts_of"]

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
"""Of status codes (RFC 9110, 15). What is outside of them is not counted here."""


class RouteCounts(msgspec.Struct, frozen=True):
    """What became of the events of one route, since the server started.

    :ivar event: the pattern of the route
    :ivar buckets: how many dispatches took at most as long as each of `Counts.bounds`, and longer than the bound before
        it; then those that took longer than all. Not cumulative
    :ivar seconds: that they took together
    :ivar outcomes: how many ended how: ok, error, timeout, cancelled
    :ivar responses: HTTP responses by class of their status, such as 2xx; only classes that there were
    """

    event: str
    buckets: Sequence[int]
    seconds: float
    outcomes: dict[str, int]
    responses: dict[str, int]


class Counts(msgspec.Struct, frozen=True):
    """What has been counted since the server started, by all workers, dead ones included.

    :ivar bounds: upper bounds of the routes' buckets, in seconds
    :ivar routes: in the order in which they were first seen
    :ivar not_found: events that matched no route
    :ivar unrouted: HTTP responses that no route made, by class of their status
    """

    bounds: Sequence[float]
    routes: list[RouteCounts]
    not_found: int
    unrouted: dict[str, int]


def counts_of(totals: Mapping[Series, Sequence[int]]) -> Counts:
    """Return `count` at once."""
    return finish(count(totals))


def count(totals: Mapping[Series, Sequence[int]]) -> Steps[Counts]:
    """Return the counts that the totals of a ledger hold.

    A route has a place here from the moment that it is registered, with zeros.
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
    not_found = totals.get(NOT_FOUND.overflow, (0,))[0]
    return Counts(DISPATCH.bounds, routes, not_found, unrouted)


def _owners(events: Mapping[str, object]) -> dict[tuple[str, str], str]:
    """Return whose responses have which method and route; "" is any method that has no route of its own. Of two routes
    that differ in a method which is counted as `_OTHER` the later one has the responses of both.
    """
    owners: dict[tuple[str, str], str] = {}
    for event in events:
        route = http_route(event)
        method = event[: len(event) - len(route)].removesuffix(":")
        owners[method and method_label(method), route] = event
    return owners


def _owner(owners: Mapping[tuple[str, str], str], method: str, route: str) -> str | None:
    """Return the event of a response's route: GET serves HEAD too (RFC 9110, 9.3.2); None where no route made it."""
    tries = (method, "GET", "") if method == "HEAD" else (method, "")
    return next((owners[one, route] for one in tries if (one, route) in owners), None)
