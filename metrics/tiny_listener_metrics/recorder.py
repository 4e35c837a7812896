"""Counting in a worker: the observer of a listener, which writes to the worker's row.

All lookups happen when a route is added. What remains for each event is a bisection and three stores. It is called by
one thread, that of the event loop. A signal handler or a second thread that ran between a load and its store would lose
a count.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final

from .series import (
    DISPATCH,
    EVENTS,
    EVENTS_NOT_FOUND,
    HTTP_DURATION,
    OUTCOMES,
    http_route,
    method_label,
    status_label,
)

if TYPE_CHECKING:
    from tiny_listener.core.observer import HTTPSamples, Outcome
    from tiny_listener.core.registration import Route

    from .row import RowWriter
    from .series import Family

    EventDone = Callable[[float, Outcome], None]

__all__ = ["Recorder", "RouteRecorder"]

_TOO_LONG: Final = 1e9
"""Seconds (31 years). Anything longer is not a duration but a clock error."""


class _Histogram:
    """Adds durations to the histograms of one family."""

    __slots__ = ("_counts", "_first_bound", "_last_bucket", "_limits", "_sums")

    def __init__(self, writer: RowWriter, family: Family) -> None:
        self._counts = writer.counts
        self._sums = writer.sums
        self._first_bound = family.bounds[0]
        self._last_bucket = len(family.bounds)
        self._limits = (*family.bounds, _TOO_LONG)

    def add(self, first: int, seconds: float) -> None:
        """Add a duration to the series whose first word has the index `first`. An invalid duration counts as 0."""
        # PERF: a bisection would matter only next to a handler that takes microseconds. Such durations do not need it:
        # one comparison, which the validity check needs anyway, saves a quarter of this call.
        if 0.0 <= seconds <= self._first_bound:
            self._counts[first + 1] += 1
        else:
            # NOTE: bucket 0 means a negative duration here, which would decrease the sum, or NaN, which would destroy
            # it. The bucket above the last means infinity or a clock error.
            bucket = bisect_left(self._limits, seconds)
            if not bucket or bucket > self._last_bucket:
                bucket, seconds = 0, 0.0
            self._counts[first + 1 + bucket] += 1
        self._sums[first] += seconds

    def bucket(self, seconds: float) -> int | None:
        """Return the bucket index of a duration; None if it is invalid."""
        return bisect_left(self._limits, seconds) if 0.0 <= seconds <= _TOO_LONG else None

    def add_all(self, first: int, durations: Sequence[float], total: float, longest: float) -> None:
        """Add many durations at once, with their `_summary`."""
        if longest <= self._first_bound:
            self._counts[first + 1] += len(durations)
            self._sums[first] += total
        else:
            for seconds in durations:
                self.add(first, seconds)


def _summary(durations: Sequence[float]) -> tuple[float, float]:
    """Return the sum and the maximum of some durations. The maximum is infinite if one of them is invalid."""
    total = sum(durations)
    # PERF: comparisons with NaN are unreliable, but a NaN makes the total NaN, and then the second one fails.
    return (total, max(durations)) if min(durations) >= 0.0 and total <= _TOO_LONG else (total, inf)


class _ResponseRecorder:
    """Counts the HTTP responses of one `http_route`."""

    __slots__ = ("_first_words", "_pattern", "_responses", "_writer")

    def __init__(self, writer: RowWriter, responses: _Histogram, pattern: str) -> None:
        """Count into `responses`, which routes share."""
        self._writer = writer
        self._responses = responses
        self._pattern = pattern
        self._first_words: dict[tuple[str, int], int] = {}

    def http_response(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Count a response, with an exemplar if it has a trace. Invalid `seconds` count as 0."""
        first = self._first_words.get((method, status)) or self._first_word(method, status)
        self._responses.add(first, seconds)
        if trace_id is not None and (exemplars := self._writer.exemplars) is not None:
            bucket = self._responses.bucket(seconds)
            if bucket is not None:
                exemplars.note(first + 1 + bucket, seconds, trace_id)

    def http_responses(self, status: int, samples: HTTPSamples) -> None:
        """Count several responses with the same status, like `http_response` for each."""
        for method, durations in _by_method(samples):
            first = self._first_words.get((method, status)) or self._first_word(method, status)
            self._responses.add_all(first, durations, *_summary(durations))

    def _first_word(self, method: str, status: int) -> int:
        method_value, status_value = method_label(method), status_label(status)
        first = self._writer.add(HTTP_DURATION, method_value, http_route(self._pattern), status_value)
        # Do not cache what is counted as "other": clients could fill the memory with such methods.
        if method_value == method and status_value == str(status):
            self._first_words[method, status] = first
        return first


_LIMITS: Final = (*DISPATCH.bounds, _TOO_LONG)


def _event_counter(writer: RowWriter, sum_word: int, first_outcome: int) -> EventDone:
    """Return a function that counts an event of one route: `_Histogram.add` and the outcome in one.

    PERF: a closure takes an eighth less time than a method that loads attributes and calls another method.
    """
    counts, sums = writer.counts, writer.sums
    first_bound, last_bucket = DISPATCH.bounds[0], len(DISPATCH.bounds)
    limits = _LIMITS
    first_bucket = sum_word + 1
    outcomes = {outcome: word for word, outcome in enumerate(OUTCOMES, start=first_outcome)}

    def event_done(seconds: float, outcome: Outcome) -> None:
        if 0.0 <= seconds <= first_bound:
            counts[first_bucket] += 1
        else:
            bucket = bisect_left(limits, seconds)
            if not bucket or bucket > last_bucket:  # an invalid duration, see `_Histogram.add`
                bucket, seconds = 0, 0.0
            counts[first_bucket + bucket] += 1
        sums[sum_word] += seconds
        counts[outcomes[outcome]] += 1

    return event_done


class RouteRecorder(_ResponseRecorder):
    """Counts the events of one route: a `tiny_listener.core.observer.RouteObserver`."""

    __slots__ = ("_counts", "_dispatches", "_first_outcome", "_ok", "_sum", "event_done")

    event_done: EventDone
    """Count an event; invalid `seconds` count as 0. Made on first access."""

    def __init__(self, writer: RowWriter, dispatches: _Histogram, responses: _Histogram, pattern: str) -> None:
        """Make the series of the route, so that they are exposed as 0 from the start.

        PERF: only these. An application may have thousands of routes, and may not use all of them.
        """
        super().__init__(writer, responses, pattern)
        self._counts = writer.counts
        self._dispatches = dispatches
        self._sum = writer.add(DISPATCH, pattern)
        self._first_outcome = writer.add(EVENTS, pattern)
        self._ok = self._first_outcome + OUTCOMES.index("ok")

    def __getattr__(self, name: str) -> Any:
        if name != "event_done":
            raise AttributeError(name)
        self.event_done = _event_counter(self._writer, self._sum, self._first_outcome)
        return self.event_done

    def http_events(self, samples: HTTPSamples) -> None:
        """Count events with the outcome "ok", and their responses with status 200."""
        # PERF: counting in batches costs a fraction of counting one by one; this path for a single one costs half.
        if len(samples) == 1:
            method, seconds = samples[0]
            self.event_done(seconds, "ok")
            self.http_response(method, 200, seconds)
            return
        self._counts[self._ok] += len(samples)
        for method, durations in _by_method(samples):
            total, longest = _summary(durations)
            self._dispatches.add_all(self._sum, durations, total, longest)
            first = self._first_words.get((method, 200)) or self._first_word(method, 200)
            self._responses.add_all(first, durations, total, longest)


def _by_method(samples: HTTPSamples) -> Iterable[tuple[str, Sequence[float]]]:
    """Return the durations by method; in most cases there is one."""
    methods, durations = zip(*samples)  # noqa: B905 - the items are pairs
    if methods.count(methods[0]) == len(methods):
        return [(methods[0], durations)]
    return [(method, [s for m, s in samples if m == method]) for method in set(methods)]


class Recorder:
    """Counts for one worker: a `tiny_listener.core.observer.Observer`."""

    __slots__ = ("_counts", "_dispatches", "_not_found", "_responses", "_unrouted", "_writer")

    def __init__(self, writer: RowWriter) -> None:
        """Count into the row of `writer`."""
        self._writer = writer
        self._counts = writer.counts
        self._not_found = writer.add(EVENTS_NOT_FOUND)
        self._dispatches = _Histogram(writer, DISPATCH)
        self._responses = _Histogram(writer, HTTP_DURATION)
        self._unrouted = _ResponseRecorder(writer, self._responses, "")

    def route_added(self, route: Route) -> RouteRecorder:
        """Return the recorder of a route. Routes with the same pattern share their series, whether they exist at the
        same time or one after the other.
        """
        return RouteRecorder(self._writer, self._dispatches, self._responses, route.path)

    def not_found(self) -> None:
        """Count an event that matched no route."""
        self._counts[self._not_found] += 1

    def http_not_found(self, samples: HTTPSamples) -> None:
        """Count events that matched no route, and their responses with status 404."""
        self._counts[self._not_found] += len(samples)
        self._unrouted.http_responses(404, samples)

    def http_unrouted(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Count a response without a route."""
        self._unrouted.http_response(method, status, seconds, trace_id)
