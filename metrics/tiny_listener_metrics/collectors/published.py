"""Published events, from the view of their carrier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias, get_args

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from tiny_listener.events.counters import DELAY_BUCKETS, RouteCounters
from tiny_listener.events.policy import Reason
from tiny_listener.events.questions import View

from ..series import OUTCOMES, label_text

__all__ = ["PublishedEvents", "PublishedView"]

PUBLISHED: Final = ("stored", "duplicate", "overloaded", "failed")
"""What may become of an event that is published."""
ATTEMPTS: Final = (*OUTCOMES, "crashed")
"""How an attempt may end."""
SETTLED: Final = ("ok", "dead", "expired")
"""How an event may end."""
REASONS: Final[tuple[str, ...]] = get_args(Reason)
"""Why an event may become a dead letter."""

_BOUNDS: Final = (*map(str, DELAY_BUCKETS), "+Inf")


class PublishedView(NamedTuple):
    """Published events at the time of a scrape.

    :ivar view: the carrier's last view; None: there is none yet
    :ivar restarts: number of carriers that died and were replaced; None: the carrier is no process of its own
    """

    view: View | None
    restarts: int | None = None


class PublishedEvents:
    """A collector of published events.

    :param look: returns what is known of them; None: none was ever published
    """

    def __init__(self, look: Callable[[], PublishedView | None]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, those of which something is known."""
        found = self._look()
        if found is None:
            return
        if found.restarts is not None:
            yield _restarts(found.restarts)
        if found.view is not None:
            yield from _by_route(found.view)
            yield from _of_all(found.view)

    def describe(self) -> Iterator[Metric]:
        """Yield the names in use."""
        yield _restarts(0)
        yield from _by_route(View())
        yield from _of_all(View(partitions=0))


_Counts: TypeAlias = Callable[[RouteCounters], Mapping[str, int]]

_COUNTERS: Final[Sequence[tuple[str, str, str, Sequence[str], _Counts]]] = (
    (
        "tiny_listener_events_published",
        "Events published, by the pattern of their route and by what became of that.",
        "outcome",
        PUBLISHED,
        lambda counters: counters.published,
    ),
    (
        "tiny_listener_event_attempts",
        "Attempts to handle published events that have ended, by how they ended.",
        "outcome",
        ATTEMPTS,
        lambda counters: counters.attempts,
    ),
    (
        "tiny_listener_events_settled",
        "Published events that are settled, by how that ended.",
        "outcome",
        SETTLED,
        lambda counters: counters.settled,
    ),
    (
        "tiny_listener_dead_letters",
        "Published events that became dead letters, by reason.",
        "reason",
        REASONS,
        lambda counters: counters.dead,
    ),
)


def _by_route(view: View) -> Iterator[Metric]:
    for name, documentation, label, values, counts in _COUNTERS:
        family = CounterMetricFamily(name, documentation, labels=("route", label))
        for one in view.routes:
            for value, count in _with_zeros(values, counts(one.counters)):
                family.add_metric((label_text(one.route), value), count)
        yield family
    delays = HistogramMetricFamily(
        "tiny_listener_event_delay_seconds",
        "Time from the publishing of an event to its first start.",
        labels=("route",),
        unit="seconds",
    )
    for one in view.routes:
        buckets = list(zip(_BOUNDS, accumulate(one.counters.delays), strict=True))
        delays.add_metric((label_text(one.route),), buckets, one.counters.delay_sum)
    yield delays


def _with_zeros(values: Iterable[str], counts: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    """Return the counts, with zeros for what has not happened: a rate needs a first value."""
    return {**dict.fromkeys(values, 0), **counts}.items()


def _of_all(view: View) -> Iterator[Metric]:
    yield _gauge(
        "events_waiting",
        "Published events that wait, including delayed ones and retries.",
        view.waiting,
    )
    yield _gauge("events_delayed", "Published events whose time has not come.", view.delayed)
    yield _gauge("events_retrying", "Published events that have failed and wait for their next attempt.", view.retries)
    in_flight = GaugeMetricFamily(
        "tiny_listener_events_in_flight", "Published events in flight, by the slot of their worker.", labels=("slot",)
    )
    for slot, number in sorted(view.in_flight.items()):
        in_flight.add_metric((str(slot),), number)
    yield in_flight
    yield _gauge(
        "events_oldest_age_seconds",
        "Time since the oldest unsettled event that is not delayed was published; 0 if there is none.",
        view.oldest or 0.0,
        unit="seconds",
    )
    # Not `dead_letters`: OpenMetrics allows no gauge with the name of a counter's family.
    kept = GaugeMetricFamily(
        "tiny_listener_dead_letters_kept", "Dead letters that are kept, by reason.", labels=("reason",)
    )
    for reason, number in _with_zeros(REASONS, view.dead):
        kept.add_metric((reason,), number)
    yield kept
    yield _gauge("keys_halted", "Keys that wait for an operator because of a dead letter.", view.halted)
    yield _gauge("event_store_bytes", "Size of the store of published events.", view.store_bytes, unit="bytes")
    yield _gauge("event_store_failing", "1 if the store cannot write, otherwise 0.", view.failure is not None)
    yield SummaryMetricFamily(
        "tiny_listener_event_store_commit_seconds",
        "Time that the transactions of the store took, since the carrier started.",
        count_value=view.commits,
        sum_value=view.commit_seconds,
        unit="seconds",
    )
    if view.partitions is not None:
        yield _gauge(
            "event_partitions", "Partitions of the keys that this server owns, of a store on NATS.", view.partitions
        )


def _gauge(name: str, documentation: str, value: float, unit: str = "") -> Metric:
    return GaugeMetricFamily(f"tiny_listener_{name}", documentation, value=value, unit=unit)


def _restarts(number: int) -> Metric:
    documentation = "Carriers of published events that died and were replaced."
    return CounterMetricFamily("tiny_listener_carrier_restarts", documentation, value=number)
