"""What a listener tells its observer, and what is in the row afterwards."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_listener_metrics import Recorder, RowWriter, Series, read_row
from tiny_listener_metrics.series import DISPATCH, EVENTS, EVENTS_NOT_FOUND, HTTP_DURATION, OUTCOMES, OVERFLOW

from tests.metrics.helpers import memory_for_row, route
from tiny_listener.core.observer import Observer, Outcome, RouteObserver

GET_USER = "GET:/user/{username}"


@pytest.fixture
def memory() -> bytearray:
    return memory_for_row()


@pytest.fixture
def recorder(memory: bytearray) -> Recorder:
    return Recorder(RowWriter(memory))


def http(method: str, path: str, status: str) -> Series:
    return Series(HTTP_DURATION.name, (method, path, status))


def test_it_is_an_observer(recorder: Recorder) -> None:
    observer: Observer = recorder
    of_route: RouteObserver = observer.route_added(route(GET_USER))
    of_route.event_done(0.001, "ok")


def test_everything_is_there_as_zero_before_it_happens(recorder: Recorder, memory: bytearray) -> None:
    recorder.route_added(route(GET_USER))
    assert read_row(memory) == {
        Series(EVENTS_NOT_FOUND.name, ()): [0],
        Series(DISPATCH.name, (GET_USER,)): [0] * 16,
        Series(EVENTS.name, (GET_USER,)): [0] * len(OUTCOMES),
    }


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_event_is_counted_by_its_outcome(recorder: Recorder, memory: bytearray, outcome: Outcome) -> None:
    observer = recorder.route_added(route(GET_USER))
    observer.event_done(0.003, outcome)
    observer.event_done(0.003, outcome)
    row = read_row(memory)
    assert row[Series(EVENTS.name, (GET_USER,))] == [2 * (other == outcome) for other in OUTCOMES]
    assert row[Series(DISPATCH.name, (GET_USER,))][0] == 6_000_000


@pytest.mark.parametrize("bucket", range(len(DISPATCH.bounds)))
def test_the_bounds_are_inclusive(recorder: Recorder, memory: bytearray, bucket: int) -> None:
    observer = recorder.route_added(route(GET_USER))
    for family in (DISPATCH, HTTP_DURATION):
        bound = family.bounds[bucket]
        below, above = math.nextafter(bound, 0), math.nextafter(bound, math.inf)
        for seconds in (below, bound, above):
            if family is DISPATCH:
                observer.event_done(seconds, "ok")
            else:
                observer.http_response("GET", 200, seconds)
    for words in (
        read_row(memory)[Series(DISPATCH.name, (GET_USER,))],
        read_row(memory)[http("GET", "/user/{username}", "200")],
    ):
        assert words[1 + bucket : 3 + bucket] == [2, 1]
        assert sum(words[1:]) == 3


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_buckets_and_sum_agree_with_the_durations(durations: list[float]) -> None:
    memory = memory_for_row()
    observer = Recorder(RowWriter(memory)).route_added(route("e"))
    for seconds in durations:
        observer.event_done(seconds, "ok")
        observer.http_response("GET", 200, seconds)
    row = read_row(memory)
    for series, family in (
        (Series(DISPATCH.name, ("e",)), DISPATCH),
        (http("GET", "e", "200"), HTTP_DURATION),
    ):
        total, *buckets = row.get(series, [0] * family.words)
        for number, bound in enumerate(family.bounds):
            assert sum(buckets[: number + 1]) == sum(seconds <= bound for seconds in durations)
        assert sum(buckets) == len(durations)
        assert total == pytest.approx(sum(durations) * 1e9, abs=1, rel=1e-12)


@pytest.mark.parametrize("seconds", [-1.0, -1e-9, math.nan, math.inf, -math.inf, 1e300])
def test_what_is_no_duration_counts_as_nothing(recorder: Recorder, memory: bytearray, seconds: float) -> None:
    observer = recorder.route_added(route(GET_USER))
    observer.event_done(0.5, "ok")
    observer.event_done(seconds, "ok")
    observer.http_response("GET", 200, seconds)
    row = read_row(memory)
    assert row[Series(DISPATCH.name, (GET_USER,))][:2] == [500_000_000, 1]
    assert row[http("GET", "/user/{username}", "200")][:2] == [0, 1]


SAMPLES = st.lists(
    st.tuples(
        st.sampled_from(["GET", "POST"]),
        st.one_of(st.floats(0, 20), st.sampled_from([0.0, 0.0001, 0.005, -1.0, math.nan, math.inf, 1e300])),
    ),
    min_size=1,
)


@given(SAMPLES)
def test_counted_together_is_as_counted_one_by_one(samples: list[tuple[str, float]]) -> None:
    together, alone = memory_for_row(), memory_for_row()
    one = Recorder(RowWriter(alone)).route_added(route("/{_:path}"))
    for method, seconds in samples:
        one.event_done(seconds, "ok")
        one.http_response(method, 200, seconds)
    Recorder(RowWriter(together)).route_added(route("/{_:path}")).http_events(samples)
    expected, found = read_row(alone), read_row(together)
    assert found.keys() == expected.keys()
    for series, words in expected.items():
        # The sum of floats depends on their order in its last digits.
        assert found[series] == pytest.approx(words, rel=1e-9, abs=1)


def test_routes_with_one_pattern_share_their_series(recorder: Recorder, memory: bytearray) -> None:
    first = recorder.route_added(route(GET_USER))
    first.event_done(0.001, "ok")
    first.http_response("GET", 200, 0.001)
    again = recorder.route_added(route(GET_USER))
    again.event_done(0.001, "error")
    again.http_response("GET", 200, 0.001)
    other_method = recorder.route_added(route("POST:/user/{username}"))
    other_method.http_response("GET", 200, 0.001)  # such a response belongs to the same http_route
    row = read_row(memory)
    assert row[Series(EVENTS.name, (GET_USER,))] == [1, 1, 0, 0, 0]
    assert sum(row[http("GET", "/user/{username}", "200")][1:]) == 3


def test_not_found_and_unrouted(recorder: Recorder, memory: bytearray) -> None:
    recorder.not_found()
    recorder.http_unrouted("GET", 404, 0.001)
    recorder.http_unrouted("", 400, 0.001)
    row = read_row(memory)
    assert row[Series(EVENTS_NOT_FOUND.name, ())] == [1]
    assert sum(row[http("GET", "", "404")][1:]) == 1
    assert sum(row[http("_OTHER", "", "400")][1:]) == 1


def test_hostile_clients_make_no_series_and_fill_no_memory(recorder: Recorder, memory: bytearray) -> None:
    observer = recorder.route_added(route("{_:path}"))
    for number in range(2000):
        recorder.http_unrouted(f"M{number}", 405, 0.001)
        observer.http_response(f"M{number}\ud800\n", 200, 0.001)
        observer.http_response("GET", 1000 + number, 0.001)
    row = read_row(memory)
    assert [series for series in row if series.family == HTTP_DURATION.name] == [
        http("_OTHER", "", "405"),
        http("_OTHER", "{_:path}", "200"),
        http("GET", "{_:path}", "_OTHER"),
    ]
    assert all(sum(row[series][1:]) == 2000 for series in row if series.family == HTTP_DURATION.name)
    assert not observer._first_words
    assert not recorder._unrouted._first_words


def test_a_full_row_goes_on_counting() -> None:
    memory = memory_for_row()
    recorder = Recorder(RowWriter(memory, max_series=4))
    for number in range(100):
        observer = recorder.route_added(route(f"GET:/{number}"))
        observer.event_done(0.001, "ok")
        observer.http_response("GET", 200, 0.001)
    row = read_row(memory)
    assert len(row) == 7  # three families with labels, and theirs is the overflow
    assert sum(words[0] for series, words in row.items() if series.family == EVENTS.name) == 100
    assert sum(sum(words[1:]) for series, words in row.items() if series.family == HTTP_DURATION.name) == 100
    assert sum(row[http(OVERFLOW, OVERFLOW, OVERFLOW)][1:]) == 99
