"""Exemplars: what a worker notes, what its owner reads, and what stands on the page."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from itertools import pairwise
from zlib import crc32

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tiny_listener_metrics import Exposition, Ledger, LedgerCollector, Recorder, RowWriter
from tiny_listener_metrics.exemplars import EXEMPLAR_BYTES, SLOTS, Exemplar, ExemplarWriter, read_exemplars
from tiny_listener_metrics.series import HTTP_DURATION, OVERFLOW, Series

from tests.metrics.helpers import memory_for_row, route, worker

# prometheus_client has no types here.
parse_openmetrics: Callable[[str], Iterable[Metric]] = text_string_to_metric_families
generate_openmetrics: Callable[[CollectorRegistry], bytes] = openmetrics_exposition.generate_latest

OPENMETRICS = "application/openmetrics-text"
HELLO = Series(HTTP_DURATION.name, ("GET", "/hello", "200"))


def trace(number: int) -> str:
    return f"{number:032x}"


def found(ledger: Ledger) -> dict[Series, dict[int, tuple[float, str]]]:
    """The examples, as (value, trace), after a reading of the totals."""
    ledger.totals()
    exemplars = ledger.exemplars()
    return {
        series: {bucket: (one.value, one.trace_id) for bucket, one in buckets.items()}
        for series, buckets in exemplars.items()
    }


def test_what_is_noted_is_read() -> None:
    memory = bytearray(EXEMPLAR_BYTES)
    assert list(read_exemplars(memory)) == []
    writer = ExemplarWriter(memory)
    for word in range(SLOTS):
        writer.note(word, word / 7, trace(word + 1))
    read = list(read_exemplars(memory))
    assert [(one.word, one.value, one.trace_id) for one in read] == [(w, w / 7, trace(w + 1)) for w in range(SLOTS)]
    assert all(earlier.timestamp <= later.timestamp for earlier, later in pairwise(read))


def test_of_two_in_one_slot_the_later_stays() -> None:
    memory = bytearray(EXEMPLAR_BYTES)
    writer = ExemplarWriter(memory)
    writer.note(3, 1.0, trace(1))
    writer.note(3 + SLOTS, 2.0, trace(2))
    assert [(one.word, one.value) for one in read_exemplars(memory)] == [(3 + SLOTS, 2.0)]


def test_half_a_slot_is_left_out() -> None:
    memory = bytearray(EXEMPLAR_BYTES)
    writer = ExemplarWriter(memory)
    writer.note(0, 1.0, trace(1))
    before = bytes(memory)
    writer.note(0, 2.0, trace(2))
    for cut in range(1, 40):
        torn = memory[:cut] + before[cut:]
        expected = {bytes(memory): [2.0], before: [1.0]}.get(bytes(torn), [])
        assert [one.value for one in read_exemplars(torn)] == expected, cut
    assert [one.value for one in read_exemplars(memory)] == [2.0]


def test_each_bucket_keeps_the_last_that_has_a_trace() -> None:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        observer = recorder.route_added(route("GET:/hello"))
        for number, bound in enumerate((*HTTP_DURATION.bounds, 100.0)):
            observer.http_response("GET", 200, bound, trace(1000 + number))
            observer.http_response("GET", 200, bound, trace(1 + number))
            observer.http_response("GET", 200, bound)  # has none: the one before stays
        recorder.http_unrouted("GET", 404, 0.2, trace(99))
        expected = {number: (bound, trace(1 + number)) for number, bound in enumerate((*HTTP_DURATION.bounds, 100.0))}
        assert found(ledger) == {HELLO: expected, Series(HTTP_DURATION.name, ("GET", "", "404")): {6: (0.2, trace(99))}}
    assert found(ledger) == {}  # they go with their worker


def test_of_several_workers_the_last_example_counts() -> None:
    ledger = Ledger()
    with worker(ledger) as (_, one), worker(ledger) as (_, two):
        observers = [recorder.route_added(route("GET:/hello")) for recorder in (one, two)]
        observers[0].http_response("GET", 200, 0.001, trace(1))
        observers[1].http_response("GET", 200, 0.002, trace(2))
        observers[1].http_response("GET", 200, 0.3, trace(3))
        observers[0].http_response("GET", 200, 0.003, trace(4))
        assert found(ledger) == {HELLO: {0: (0.003, trace(4)), 7: (0.3, trace(3))}}


def test_what_shares_a_series_shares_its_examples() -> None:
    ledger = Ledger(max_series=4)
    with worker(ledger) as (_, recorder):
        for number in range(5):
            recorder.route_added(route(f"GET:/{number}")).http_response("GET", 200, 0.001, trace(number + 1))
        page, _ = Exposition(ledger, version="2").render(OPENMETRICS)
    assert page.count(b"# {trace_id=") <= 4
    assert f'http_route="{OVERFLOW}"'.encode() in page


def test_a_row_without_room_for_examples_counts() -> None:
    recorder = Recorder(RowWriter(memory_for_row()))
    recorder.route_added(route("GET:/hello")).http_response("GET", 200, 0.001, trace(1))


def test_the_page_has_them_where_its_format_does() -> None:
    ledger = Ledger()
    exposition = Exposition(ledger, version="2")
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger))
    with worker(ledger) as (_, recorder):
        observer = recorder.route_added(route('GET:/{a} "%s"\\'))
        observer.http_response("GET", 200, 0.0123456, trace(0xABC))
        observer.http_response("GET", 200, 1e-07, trace(0xDEF))
        text, openmetrics = exposition.render()[0], exposition.render(OPENMETRICS)[0]
        own_part = generate_openmetrics(exposition.registry)
        assert openmetrics == generate_openmetrics(registry).removesuffix(b"# EOF\n") + own_part
    assert b"trace_id" not in text
    exemplars = {
        sample.labels["le"]: (sample.exemplar.labels, sample.exemplar.value)
        for family in parse_openmetrics(openmetrics.decode())
        for sample in family.samples
        if sample.exemplar
    }
    assert exemplars == {
        "0.005": ({"trace_id": trace(0xDEF)}, 1e-07),
        "0.025": ({"trace_id": trace(0xABC)}, 0.0123456),
    }


def test_the_layout_is_as_described() -> None:
    memory = bytearray(EXEMPLAR_BYTES)
    ExemplarWriter(memory).note(SLOTS + 2, 0.25, "4bf92f3577b34da6a3ce929d0e0e4736")
    slot = memory[80:120]
    checksum, word, value, timestamp = struct.unpack("=IIdd", slot[:24])
    assert (checksum, word, value) == (crc32(slot[4:]), SLOTS + 2, 0.25)
    assert slot[24:].hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert not any(memory[:80] + memory[120:])
    assert list(read_exemplars(memory)) == [Exemplar(word, value, timestamp, slot[24:].hex())]


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_what_is_no_duration_is_no_example(seconds: float) -> None:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        recorder.route_added(route("GET:/hello")).http_response("GET", 200, seconds, trace(1))
        assert found(ledger) == {}
