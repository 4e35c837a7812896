"""Counters of published events by route. They are stored in the transaction of what they count, so they are exact."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import msgspec

__all__ = ["DELAY_BUCKETS", "Counters", "Counts", "RouteCounters", "decode_counters"]

DELAY_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 3600.0)
"""Upper bounds in seconds, of the time from publishing to start; one more bucket has what took longer."""


class Counts(dict[str, int]):
    """Numbers by name, 0 by default. A name that was not counted is not there."""

    def __missing__(self, name: str) -> int:
        """Return 0."""
        return 0


class RouteCounters(msgspec.Struct):
    """The counters of one route.

    :ivar published: by outcome: `stored`, `duplicate`, `overloaded`, `failed`
    :ivar attempts: by outcome: those of an event, and `crashed`
    :ivar settled: by outcome: `ok`, `dead`, `expired`
    :ivar dead: dead letters by reason
    :ivar delays: events by the bucket of the time until they were first started
    :ivar delay_sum: seconds
    :ivar unsettled: events that wait, are delayed or in flight; not a counter, and 0 when it is loaded
    """

    published: dict[str, int] = msgspec.field(default_factory=Counts)
    attempts: dict[str, int] = msgspec.field(default_factory=Counts)
    settled: dict[str, int] = msgspec.field(default_factory=Counts)
    dead: dict[str, int] = msgspec.field(default_factory=Counts)
    delays: list[int] = msgspec.field(default_factory=lambda: [0] * (len(DELAY_BUCKETS) + 1))
    delay_sum: float = 0.0
    unsettled: int = 0

    def started(self, delay: float, number: int = 1) -> None:
        """An event was started for the first time, so many seconds after it was published; -1: take that back."""
        self.delays[bisect_left(DELAY_BUCKETS, delay)] += number
        if delay > 0:  # clocks may go back
            self.delay_sum += delay * number


decode_counters: Final = msgspec.msgpack.Decoder(RouteCounters).decode
"""Decodes the counters of a route as the store has them."""


class Counters:
    """The counters of all routes.

    :param stored: as the store has them, by route
    :ivar changed: the routes whose counters are to be stored
    """

    def __init__(self, stored: dict[str, bytes]) -> None:
        self.by_route: Final = {route: decode_counters(values) for route, values in stored.items()}
        for counters in self.by_route.values():
            counters.unsettled = 0
            for name in ("published", "attempts", "settled", "dead"):
                setattr(counters, name, Counts(getattr(counters, name)))
        self.changed: set[str] = set()
        self._encode: Final = msgspec.msgpack.Encoder().encode

    def of(self, route: str) -> RouteCounters:
        """Return the counters of a route, to change them."""
        self.changed.add(route)
        found = self.by_route.get(route)
        if found is None:
            found = self.by_route[route] = RouteCounters()
        return found

    def take_changed(self) -> dict[str, bytes]:
        """Return the counters that have changed since the last call, encoded, by route."""
        changed, self.changed = self.changed, set()
        return {route: self._encode(self.by_route[route]) for route in changed}
