"""The counts that the status page shows: those of the ledger, each with the route that it belongs to."""

from __future__ import annotations

import msgspec
from tiny_listener_metrics import Counts, Ledger, RouteCounts, counts_of
from tiny_listener_metrics.series import DISPATCH, OUTCOMES

from tests.metrics.helpers import route, work, worker


def by_event(counts: Counts) -> dict[str, RouteCounts]:
    return {one.event: one for one in counts.routes}


def test_nothing_is_counted_yet() -> None:
    counts = counts_of(Ledger().totals())
    assert counts == Counts(DISPATCH.bounds, [], 0, {})


def test_a_route_is_there_with_zeros_before_its_first_event() -> None:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        recorder.route_added(route("GET:/"))
        (one,) = counts_of(ledger.totals()).routes
    assert one.event == "GET:/"
    assert list(one.buckets) == [0] * (len(DISPATCH.bounds) + 1)
    assert one.outcomes == {"ok": 0, "error": 0, "timeout": 0, "cancelled": 0, "rejected": 0}
    assert one.responses == {}


def test_living_and_dead_workers_are_counted_together() -> None:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        work(recorder, 2)
    with worker(ledger) as (_, recorder):
        work(recorder, 3)
        counts = counts_of(ledger.totals())
    one = by_event(counts)["GET:/user/{username}"]
    assert one.outcomes == {"ok": 5, "error": 5, "timeout": 5, "cancelled": 5, "rejected": 5}
    assert list(one.buckets) == [5, 0, 5, 10, 5, *[0] * 10]  # 0, 0.3, 0.6, 0.9 and 1.2 ms
    assert round(one.seconds, 6) == 0.015
    assert one.responses == {"2xx": 5}
    assert counts.not_found == 5
    assert counts.unrouted == {"4xx": 5}


def test_responses_go_to_the_route_that_made_them() -> None:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        for event, method, status in (
            ("GET:/a", "GET", 200),
            ("GET:/a", "HEAD", 204),  # GET serves HEAD too
            ("POST:/a", "POST", 503),
            ("HEAD:/b", "HEAD", 302),
            ("GET:/b", "GET", 404),
            ("PURGE:/c", "PURGE", 200),  # counted as _OTHER
            ("/any", "PUT", 500),
            ("GET:/a", "GET", 999),  # no status code: it has no class
        ):
            recorder.route_added(route(event)).http_response(method, status, 0.01)
        counts = by_event(counts_of(ledger.totals()))
    assert counts["GET:/a"].responses == {"2xx": 2}
    assert counts["POST:/a"].responses == {"5xx": 1}
    assert counts["HEAD:/b"].responses == {"3xx": 1}
    assert counts["GET:/b"].responses == {"4xx": 1}
    assert counts["PURGE:/c"].responses == {"2xx": 1}
    assert counts["/any"].responses == {"5xx": 1}


def test_what_has_no_room_of_its_own_is_one_route() -> None:
    ledger = Ledger(max_series=4)
    with worker(ledger) as (_, recorder):
        for number in range(9):
            work(recorder, 1, f"GET:/{number}")
        counts = counts_of(ledger.totals())
    assert counts.routes[-1].event == "_other"
    assert sum(sum(one.buckets) for one in counts.routes) == 9 * len(OUTCOMES)


def test_it_is_json_whatever_a_route_is_called() -> None:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        work(recorder, 1, "GET:/\ud800</script>\u2028\x00\"'")
        text = msgspec.json.encode(counts_of(ledger.totals()))
    assert msgspec.json.decode(text, type=Counts).routes[0].event == "GET:/\\ud800</script>\u2028\x00\"'"
