"""The metrics of published events, from a view of their carrier."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample
from tiny_listener_metrics import Exposition, Ledger, PublishedEvents, PublishedView

from tests.metrics.helpers import work, worker
from tiny_listener.events.counters import RouteCounters
from tiny_listener.events.questions import RouteView, View

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ROUTE = 'order {n:int} "placed"'


def counters() -> RouteCounters:
    found = RouteCounters({"stored": 7}, {"ok": 4, "crashed": 2}, {"ok": 4, "dead": 1}, {"rejected": 1})
    for delay in (0.002, 0.003, 2.0, 7200.0):
        found.started(delay)
    return found


VIEW = View(
    waiting=3, delayed=1, retries=1, in_flight={1: 2, 0: 1}, oldest=2.5, dead={"rejected": 1}, halted=1,
    store="memory", store_bytes=4096, failure="disk full", routes=[RouteView(ROUTE, counters())], commits=9,
    commit_seconds=0.25, partitions=21,
)  # fmt: skip


def labels_of(sample: Sample) -> list[str]:
    """The values of its labels, the route's first."""
    return [value for _, value in sorted(sample.labels.items(), reverse=True)]


def page(view: PublishedView | None, accept: str | None = None) -> str:
    ledger = Ledger()
    exposition = Exposition(ledger, version="2")
    exposition.registry.register(PublishedEvents(lambda: view))
    with worker(ledger) as (_, recorder):
        work(recorder, 1)  # `tiny_listener_events_total` is on the page too
        return exposition.render(accept)[0].decode()


@pytest.mark.parametrize("accept", [None, OPENMETRICS])
def test_both_formats_have_each_number_once(accept: str | None) -> None:
    parse = parse_openmetrics if accept else parse_text
    families = list(parse(page(PublishedView(VIEW, 3), accept)))
    assert len({family.name for family in families}) == len(families)
    found = {
        (
            sample.name.removeprefix("tiny_listener_"),
            *(value for _, value in sorted(sample.labels.items(), reverse=True)),
        ): sample.value
        for family in families
        for sample in family.samples
    }
    expected = {
        ("events_published_total", ROUTE, "stored"): 7,
        ("events_published_total", ROUTE, "overloaded"): 0,
        ("event_attempts_total", ROUTE, "crashed"): 2,
        ("event_attempts_total", ROUTE, "timeout"): 0,
        ("events_settled_total", ROUTE, "ok"): 4,
        ("events_settled_total", ROUTE, "expired"): 0,
        ("dead_letters_total", ROUTE, "rejected"): 1,
        ("dead_letters_total", ROUTE, "no route"): 0,
        ("dead_letters_kept", "rejected"): 1,
        ("dead_letters_kept", "crashed"): 0,
        ("event_delay_seconds_count", ROUTE): 4,
        ("event_delay_seconds_sum", ROUTE): 7202.005,
        ("events_waiting",): 3,
        ("events_delayed",): 1,
        ("events_retrying",): 1,
        ("events_in_flight", "0"): 1,
        ("events_in_flight", "1"): 2,
        ("events_oldest_age_seconds",): 2.5,
        ("keys_halted",): 1,
        ("event_store_bytes",): 4096,
        ("event_store_failing",): 1,
        ("event_store_commit_seconds_sum",): 0.25,
        ("event_store_commit_seconds_count",): 9,
        ("event_partitions",): 21,
        ("carrier_restarts_total",): 3,
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    buckets = {str(labels[-1]): n for (name, *labels), n in found.items() if name == "event_delay_seconds_bucket"}
    assert buckets["0.001"] == 0
    assert (buckets["0.005"], buckets["1.0"], buckets["5.0"], buckets["3600.0"], buckets["+Inf"]) == (2, 2, 3, 3, 4)


def test_nothing_is_shown_of_what_is_not_known() -> None:
    assert "published" not in page(None)
    assert "carrier" not in page(None)
    assert "events_published" not in page(PublishedView(None, 0))
    assert "tiny_listener_carrier_restarts_total 0.0\n" in page(PublishedView(None, 0))
    alone = page(PublishedView(View()))
    assert "carrier_restarts" not in alone
    assert "tiny_listener_events_oldest_age_seconds 0.0\n" in alone
    assert "tiny_listener_event_store_failing 0.0\n" in alone
    assert "event_partitions" not in alone


def test_a_pattern_that_is_no_unicode_does_not_break_the_page() -> None:
    view = View(routes=[RouteView("a \ud800 b", counters())])
    assert r'route="a \\ud800 b"' in page(PublishedView(view))
