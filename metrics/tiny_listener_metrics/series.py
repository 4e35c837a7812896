"""What is counted: families, their label names, units and bounds, and the rules for label values.

A `Family` is what Prometheus calls a metric. A `Series` is one member of a family, identified by its label values. In a
row (see `row`) it owns `Family.words` words. A histogram's `le` label and the last label of a counter with `variants`
are not part of a `Series`: their values are known in advance, and each has its own word.

To add a family: define it here, add it to `FAMILIES`, and write it in `recorder`. Row, ledger and exposition handle any
family of these kinds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, get_args

from tiny_listener.core.observer import KNOWN_METHODS, Outcome

__all__ = [
    "DISPATCH",
    "EVENTS",
    "EVENTS_NOT_FOUND",
    "FAMILIES",
    "HTTP_DURATION",
    "OTHER_METHOD",
    "OTHER_STATUS",
    "OUTCOMES",
    "OVERFLOW",
    "Family",
    "Series",
    "http_route",
    "label_text",
    "method_label",
    "status_label",
]

OVERFLOW: Final = "_other"
"""Label value of the series that counts everything for which there is no room."""

OTHER_METHOD: Final = "_OTHER"
"""OpenTelemetry's `http.request.method` for unknown methods."""

OTHER_STATUS: Final = "_OTHER"
"""Status label of a response whose code is outside 100..599 (RFC 9110, 15)."""

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)


class Series(NamedTuple):
    """The identity of a series, comparable between processes."""

    family: str
    """`Family.name`"""
    labels: tuple[str, ...]
    """The values of `Family.labels`, without the one that `Family.variants` enumerates."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name, its kind, and what its series hold."""

    name: str
    """Without the suffixes of samples (`_total`, `_bucket`, `_count`, `_sum`)."""
    kind: Literal["counter", "histogram"]
    documentation: str
    """The HELP text."""
    labels: tuple[str, ...] = ()
    unit: str = ""
    """A base unit of OpenMetrics, which `name` ends with; "" for counts."""
    bounds: tuple[float, ...] = ()
    """Histogram: the inclusive upper bounds in `unit`, ascending, without +Inf."""
    variants: tuple[str, ...] = ()
    """Counter: all possible values of the last of `labels`; () if they are not known in advance."""

    words: int = field(init=False)
    """Words per series. Histogram: the sum, then a count per bucket (not cumulative, +Inf last). Counter: one count per
    variant, or one."""
    overflow: Series = field(init=False)
    """The series for everything that has no room. A family without labels has only this one."""

    def __post_init__(self) -> None:
        """Derive the remaining fields."""
        words = 1 + len(self.bounds) + 1 if self.kind == "histogram" else max(1, len(self.variants))
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "overflow", Series(self.name, (OVERFLOW,) * self.own_labels))

    @property
    def own_labels(self) -> int:
        """Number of label values in a `Series` of this family."""
        return len(self.labels) - bool(self.variants)


DISPATCH: Final = Family(
    name="tiny_listener_dispatch_seconds",
    kind="histogram",
    documentation="Time from the trigger of an event to the end of its hooks, by the pattern of its route.",
    labels=("event",),
    unit="seconds",
    # A handler that does not wait takes tens of microseconds, so the first bound is 100 us. Above 10 s it is no longer
    # a question of latency. In between 1-2.5-5, without 0.5 and 5: 14 bounds are 15 buckets, with the sum 16 words, two
    # cache lines.
    bounds=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0),
)

EVENTS: Final = Family(
    name="tiny_listener_events",
    kind="counter",
    documentation="Events dispatched, by the pattern of their route and by how the dispatch ended.",
    labels=("event", "outcome"),
    # NOTE: "ok" is counted, not computed as a difference. Two words are not read at the same instant, so a difference
    # can decrease, which Prometheus would treat as a counter reset.
    variants=OUTCOMES,
)

EVENTS_NOT_FOUND: Final = Family(
    name="tiny_listener_not_found",
    kind="counter",
    documentation="Events, of any source, that matched no route.",
)

HTTP_DURATION: Final = Family(
    name="http_server_request_duration_seconds",
    kind="histogram",
    documentation="Time from the head of an HTTP request to its response being ready to be written.",
    labels=("http_request_method", "http_route", "http_response_status_code"),
    unit="seconds",
    # Exactly the bounds that OpenTelemetry's semantic conventions recommend for http.server.request.duration, so that
    # dashboards made for other servers work. DISPATCH resolves durations below 5 ms.
    bounds=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)

FAMILIES: Final = {family.name: family for family in (DISPATCH, EVENTS, EVENTS_NOT_FOUND, HTTP_DURATION)}
"""By name, in the order of exposition."""


def label_text(text: str) -> str:
    r"""Return a label value that can be encoded as UTF-8: lone surrogates become escapes such as `\ud800`.

    Otherwise one of them in the pattern of one route would break the whole page. The exposition escapes everything
    else.
    """
    return text.encode("utf-8", "backslashreplace").decode()


_METHOD_PREFIX: Final = re.compile("[A-Z-]+:")


def http_route(pattern: str) -> str:
    """Return the `http_route` of a route: its pattern without the method.

    >>> http_route("GET:/user/{username}")
    '/user/{username}'
    """
    prefix = _METHOD_PREFIX.match(pattern)
    return pattern[prefix.end() :] if prefix else pattern


def method_label(method: str) -> str:
    """Return the `http_request_method` of a request: one of eleven values, whatever a client sends."""
    return method if method in KNOWN_METHODS else OTHER_METHOD


def status_label(status: int) -> str:
    """Return the `http_response_status_code` of a response: one of 501 values, whatever an application returns."""
    return str(int(status)) if 100 <= status <= 599 else OTHER_STATUS
