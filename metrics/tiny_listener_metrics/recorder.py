"""How a worker counts: the observer of a listener, writing into the worker's row.

What can be looked up is looked up when a route is added; what remains for each event is a bisection and
three stores. Called by one thread, that of the event loop; a signal handler or a second thread that called
in between a load and its store would lose a count.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final

from .series import (
    DISPATCH,
    EVENTS,
    HTTP_DURATION,
    NOT_FOUND,
    OUTCOMES,
    http_route,
    method_label,
    status_label,
)

if TYPE_CHECKING:
    from tiny_listener.core.observer import HTTPSamples, Outcome
    from tiny_listener.core.route import Route

    from .row import RowWriter
    from .series import Family

    EventDone = Callable[[float, Outcome], None]

__all__ = ["Recorder", "RouteRecorder"]

_TOO_LONG: Final = 1e9
"""Seconds (31 years) from which a duration is not one but an error of a clock."""


class _Histogram:
    """Adds durations to histograms of one family."""

    __slots__ = ("_counts", "_first_bound", "_last_bucket", "_limits", "_sums")

    def __init__(self, writer: RowWriter, family: Family) -> None:
        self._counts = writer.counts
        self._sums = writer.sums
        self._first_bound = family.bounds[0]
        self._last_bucket = len(family.bounds)
        self._limits = (*family.bounds, _TOO_LONG)

    def add(self, first: int, seconds: float) -> None:
        """Add a duration to the series whose first word has the number `first`; what is no duration counts as 0."""
        # PERF: where a bisection would be noticed, in front of a handler that takes microseconds, it is not
        # needed: one comparison of bounds, which the check needs anyway, saves a quarter of this call.
        if 0.0 <= seconds <= self._first_bound:
            self._counts[first + 1] += 1
        else:
            # NOTE: here bucket 0 means a negative duration, which would take the sum back, or NaN, which no
            # sum survives; the one above the last means infinity or a broken clock.
            bucket = bisect_left(self._limits, seconds)
            if not bucket or bucket > self._last_bucket:
                bucket, seconds = 0, 0.0
            self._counts[first + 1 + bucket] += 1
        self._sums[first] += seconds

    def bucket(self, seconds: float) -> int | None:
        """Return which bucket a duration belongs to; None for what is no duration."""
        return bisect_left(self._limits, seconds) if 0.0 <= seconds <= _TOO_LONG else None

    def add_all(self, first: int, durations: Sequence[float], total: float, longest: float) -> None:
        """Add many durations at once; with what `_summary` says of them."""
        if longest <= self._first_bound:
            self._counts[first + 1] += len(durations)
            self._sums[first] += total
        else:
            for seconds in durations:
                self.add(first, seconds)


def _summary(durations: Sequence[float]) -> tuple[float, float]:
    """The sum and the greatest of some durations; an infinite one, if there is one among them that is no duration."""
    total = sum(durations)
    # PERF: a NaN compares as it likes, but makes the total one: then the comparison fails.
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
        """Count a response, as an example if it has a trace; `seconds` that cannot be a duration count as 0."""
        first = self._first_words.get((method, status)) or self._first_word(method, status)
        self._responses.add(first, seconds)
        if trace_id is not None and (exemplars := self._writer.exemplars) is not None:
            bucket = self._responses.bucket(seconds)
            if bucket is not None:
                exemplars.note(first + 1 + bucket, seconds, trace_id)

    def http_responses(self, status: int, samples: HTTPSamples) -> None:
        """Count responses of one status, as `http_response` does for each."""
        for method, durations in _by_method(samples):
            first = self._first_words.get((method, status)) or self._first_word(method, status)
            self._responses.add_all(first, durations, *_summary(durations))

    def _first_word(self, method: str, status: int) -> int:
        method_value, status_value = method_label(method), status_label(status)
        first = self._writer.add(HTTP_DURATION, method_value, http_route(self._pattern), status_value)
        # A name or number that stands for many is not remembered: clients could fill the memory with them.
        if method_value == method and status_value == str(status):
            self._first_words[method, status] = first
        return first


_LIMITS: Final = (*DISPATCH.bounds, _TOO_LONG)


def _event_counter(writer: RowWriter, sum_word: int, first_outcome: int) -> EventDone:
    """Return what counts an event of one route: `_Histogram.add` and the outcome in one.

    PERF: a function that holds what it needs takes an eighth less than a method that fetches it and calls another.
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
            if not bucket or bucket > last_bucket:  # what is no duration, see `_Histogram.add`
                bucket, seconds = 0, 0.0
            counts[first_bucket + bucket] += 1
        sums[sum_word] += seconds
        counts[outcomes[outcome]] += 1

    return event_done


class RouteRecorder(_ResponseRecorder):
    """Counts the events of one route: a `tiny_listener.core.observer.RouteObserver`."""

    __slots__ = ("_counts", "_dispatches", "_first_outcome", "_ok", "_sum", "event_done")

    event_done: EventDone
    """Count an event; `seconds` that cannot be a duration count as 0. Made when it is first asked for."""

    def __init__(self, writer: RowWriter, dispatches: _Histogram, responses: _Histogram, pattern: str) -> None:
        """Make the series of the route, so that they are exposed as 0 from the start.

        PERF: and no more than these: an application may have thousands of routes, and not all are used.
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
        # PERF: what is counted together costs a fraction of what it costs one by one; and one alone, half.
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
    """Return the durations of each method; most often there is one."""
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
        self._not_found = writer.add(NOT_FOUND)
        self._dispatches = _Histogram(writer, DISPATCH)
        self._responses = _Histogram(writer, HTTP_DURATION)
        self._unrouted = _ResponseRecorder(writer, self._responses, "")

    def route_added(self, route: Route) -> RouteRecorder:
        """The recorder of a route. Routes with the same pattern, at the same time or one after the other,
        share their series.
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
        """Count a response that no route made."""
        self._unrouted.http_response(method, status, seconds, trace_id)
