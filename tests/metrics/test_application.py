"""The application's own metrics: several workers in one process, what the dead leave, and what no page may suffer."""

from __future__ import annotations

import gc
import gzip
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client import values as prometheus_values
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from tiny_listener_metrics import ApplicationMetrics, Exposition, Ledger, RegistryMetrics, ValuesRow
from tiny_listener_metrics.exposition import accepts_gzip, compressed
from tiny_listener_metrics.values import ValueStore, value_class

Mode = Literal[
    "all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent", "livemostrecent"
]  # fmt: skip
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def application() -> ApplicationMetrics:
    return ApplicationMetrics(capacity=1 << 16)


@contextmanager
def living_in(row: ValuesRow) -> Iterator[ValueStore]:
    """Be the worker with this row while the block runs."""
    before, store = prometheus_values.ValueClass, ValueStore(row.memory)
    prometheus_values.ValueClass = value_class(store)
    try:
        yield store
    finally:
        prometheus_values.ValueClass = before


def read(metrics: Iterable[Metric]) -> Samples:
    found: Samples = {}
    for metric in metrics:
        for sample in metric.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def page(application: ApplicationMetrics | RegistryMetrics) -> Samples:
    exposition = Exposition(Ledger(), version="2")
    exposition.show_application(application)
    return read(text_string_to_metric_families(exposition.render()[0].decode()))


def one(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def observe(row: ValuesRow, times: int) -> None:
    with living_in(row):
        registry = CollectorRegistry()
        things = Counter("things", "Things.", ["kind"], registry=registry)
        sizes = Histogram("sizes", "Sizes.", ["kind"], buckets=(1, 5), registry=registry)
        waits = Summary("waits", "Waits.", registry=registry)
        Gauge("level", "A level.", registry=registry).set(1)
        for number in range(times):
            things.labels("a").inc(2)
            sizes.labels("b").observe(number)
            waits.observe(0.5)


def test_workers_are_added_up_and_the_dead_stay(application: ApplicationMetrics) -> None:
    rows = [application.open_row(str(number)) for number in range(3)]
    for row in rows:
        observe(row, 10)
    living = page(application)
    assert one(living, "things_total", kind="a") == 60
    assert one(living, "sizes_bucket", kind="b", le="1.0") == 6
    assert one(living, "sizes_bucket", kind="b", le="5.0") == 18
    assert one(living, "sizes_bucket", kind="b", le="+Inf") == one(living, "sizes_count", kind="b") == 30
    assert one(living, "sizes_sum", kind="b") == 135
    assert one(living, "waits_count") == 30
    assert one(living, "waits_sum") == 15
    for row in rows:
        application.close_row(row)
        assert page(application) == living


@pytest.mark.parametrize(
    ("mode", "together", "one_dead"),
    [
        ("sum", 12, 12),
        ("livesum", 12, 5),
        ("min", 5, 5),
        ("livemin", 5, 5),
        ("max", 7, 7),
        ("livemax", 7, 5),
        ("mostrecent", 5, 5),
        ("livemostrecent", 5, 5),
        ("all", {"0": 7, "1": 5}, {"0": 7, "1": 5}),
        ("liveall", {"0": 7, "1": 5}, {"1": 5}),
    ],
)
def test_gauges_by_mode(
    application: ApplicationMetrics, mode: Mode, together: float | dict[str, float], one_dead: float | dict[str, float]
) -> None:
    rows = [application.open_row("0"), application.open_row("1")]
    for row, value in zip(rows, (7, 5), strict=True):
        with living_in(row):
            Gauge("level", "A level.", multiprocess_mode=mode, registry=CollectorRegistry()).set(value)

    def shown() -> float | dict[str, float]:
        values = {
            dict(labels).get("pid"): value for (name, labels), value in page(application).items() if name == "level"
        }
        return values[None] if None in values else {pid or "": value for pid, value in values.items()}

    assert shown() == together
    application.close_row(rows[0])
    assert shown() == one_dead


def test_a_recent_value_of_a_dead_worker_stays(application: ApplicationMetrics) -> None:
    rows = [application.open_row("0"), application.open_row("1")]
    for row in rows:
        with living_in(row):
            gauge = Gauge("level", "A level.", multiprocess_mode="mostrecent", registry=CollectorRegistry())
            if row is rows[0]:
                assert not any(name == "level" for name, _ in page(application))  # nobody has set it
                gauge.set(7)
    application.close_row(rows[0])
    assert one(page(application), "level") == 7


def test_a_thousand_restarts_leave_nothing(application: ApplicationMetrics) -> None:
    def mappings() -> int:
        """How many are shared, as rows are; what the interpreter maps for itself is private."""
        gc.collect()  # the metrics of the workers that were here
        return sum(line.split()[1].endswith("s") for line in Path("/proc/self/maps").read_text().splitlines())

    def restart() -> None:
        row = application.open_row("0")
        observe(row, 1)
        application.close_row(row)

    restart()
    samples, before = page(application), mappings()
    for _ in range(999):
        restart()
    after = page(application)
    assert after.keys() == samples.keys()
    assert one(after, "things_total", kind="a") == 2000
    assert one(after, "level", pid="0") == 1
    assert mappings() == before


def test_a_label_named_pid_is_the_applications(application: ApplicationMetrics) -> None:
    for number in "01":
        with living_in(application.open_row(number)):
            Gauge("level", "A level.", ["pid"], registry=CollectorRegistry()).labels("x").set(int(number))
    assert one(page(application), "level", pid="x") == 1


def test_new_code_may_make_another_metric_of_a_name(application: ApplicationMetrics) -> None:
    old, new = application.open_row("0"), application.open_row("0")
    with living_in(old):
        Gauge("level", "A gauge.", registry=CollectorRegistry()).set(1)
    with living_in(new):
        Summary("level", "A summary.", registry=CollectorRegistry()).observe(3)
    application.close_row(old)
    samples = page(application)
    assert one(samples, "level_sum") == 3
    assert ("level", frozenset({("pid", "0")})) not in samples


def test_what_was_counted_before_the_fork_counts_once(application: ApplicationMetrics) -> None:
    before = prometheus_values.ValueClass
    try:
        application.take_over()
        registry = CollectorRegistry()
        things, level = (
            Counter("things", "Things.", registry=registry),
            Gauge("level", "A level.", registry=registry, multiprocess_mode="livesum"),
        )
        things.inc(3)
        level.set(5)
        assert page(application) == {**page(application), ("things_total", frozenset()): 3}
        row = application.open_row("0")
        pid = os.fork()
        if pid == 0:
            application.take_row(row)
            things.inc()
            os._exit(0 if (things._value.get(), level._value.get()) == (1, 5) else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert one(page(application), "things_total") == 4
        assert one(page(application), "level") == 5
        application.close_row(row)
        assert one(page(application), "things_total") == 4
    finally:
        prometheus_values.ValueClass = before


def test_a_process_that_the_application_forks_counts_for_itself(application: ApplicationMetrics) -> None:
    row = application.open_row("0")
    with living_in(row) as store:
        os.register_at_fork(after_in_child=store.detach)
        things = Counter("things", "Things.", registry=CollectorRegistry())
        things.inc()
        pid = os.fork()
        if pid == 0:
            things.inc()
            os._exit(0 if things._value.get() == 2 else 1)
        assert os.waitpid(pid, 0)[1] == 0
    assert one(page(application), "things_total") == 1


def test_threads_lose_no_count(application: ApplicationMetrics) -> None:
    with living_in(application.open_row("0")):
        things = Counter("things", "Things.", registry=CollectorRegistry())

        def count() -> None:
            for _ in range(20_000):
                things.inc()

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert one(page(application), "things_total") == 80_000


# ------------------------------------------------------------------------------- what no page may suffer


def test_what_finds_no_room_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    application = ApplicationMetrics(capacity=512)
    with living_in(application.open_row("0")):
        things = Counter("things", "Things.", ["n"], registry=CollectorRegistry())
        for number in range(100):
            things.labels(number).inc()
            things.labels(number).inc()
            assert things.labels(number)._value.get() == 2
    assert 2 <= sum(name == "things_total" for name, _ in page(application)) < 20
    assert [record.getMessage().partition(" fit ")[0] for record in caplog.records] == [
        "metrics: the application has more values than"
    ]


def test_the_dead_cannot_fill_the_memory(
    application: ApplicationMetrics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tiny_listener_metrics.application.MAX_SAMPLES", 3)
    for number in range(6):
        row = application.open_row("0")
        with living_in(row):
            things = Counter("things", "Things.", ["n"], registry=CollectorRegistry())
            things.labels(number).inc()
            things.labels(0).inc()
        application.close_row(row)
    samples = page(application)
    assert one(samples, "things_total", n="0") == 7
    assert sum(name == "things_total" for name, _ in samples) == 3
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "damage",
    [
        struct.pack("=II", 0, 0),  # killed between the two stores, or a store not seen yet
        struct.pack("=II", 1 << 30, 0),
        struct.pack("=II", 4, 0) + b"null",
    ],
)
def test_a_damaged_entry_costs_only_what_follows_it(
    application: ApplicationMetrics, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    row = application.open_row("0")
    observe(row, 1)
    (used,) = struct.unpack_from("=Q", row.memory, 0)
    row.memory[used : used + len(damage)] = damage
    assert one(page(application), "things_total", kind="a") == 2  # it is not in use: nobody sees it
    struct.pack_into("=Q", row.memory, 0, used + 64)
    for _ in range(3):
        assert one(page(application), "things_total", kind="a") == 2
    application.close_row(row)
    assert one(page(application), "things_total", kind="a") == 2
    assert len([record for record in caplog.records if "corrupt" in record.getMessage()]) == 1


@pytest.mark.parametrize(
    "name", ["tiny_listener_not_found", "tiny_listener_dispatch_seconds_count", "tiny_listener_build_info"]
)
def test_a_taken_name_is_left_out(name: str, caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    Gauge(name, "Ours.", registry=registry)
    Counter("things", "Things.", registry=registry).inc()
    exposition = Exposition(Ledger(), version="2")
    exposition.show_application(RegistryMetrics(registry))
    for _ in range(2):
        text = exposition.render()[0].decode()
        assert "things_total 1.0\n" in text
        assert "Ours." not in text
    assert [record.getMessage() for record in caplog.records] == [
        f"metrics: {name} of the application is not exposed: its name is already in use; rename it"
    ]


def test_a_metric_that_cannot_be_written_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    Info("odd", "A label that is no text.", registry=registry).info({"a": "\ud800"})
    Counter("things", "Things.", registry=registry).inc()
    samples = page(RegistryMetrics(registry))
    assert one(samples, "things_total") == 1
    assert not any(name.startswith("odd") for name, _ in samples)
    assert "odd of the application is not exposed: it cannot be written" in caplog.text


def test_a_label_that_is_no_text_is_written_as_escape(application: ApplicationMetrics) -> None:
    with living_in(application.open_row("0")):
        Counter("things", "Th\udc80ings.", ["kind"], registry=CollectorRegistry()).labels("\ud800").inc()
    assert one(page(application), "things_total", kind=r"\ud800") == 1


def test_a_collector_that_raises_costs_what_follows_it(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def collect(self) -> Iterator[Metric]:
            raise RuntimeError("deliberate")
            yield

    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    registry.register(Broken())
    metrics = RegistryMetrics(registry)
    for _ in range(2):
        assert one(page(metrics), "things_total") == 1
    assert len(caplog.records) == 1


def test_what_prometheus_client_brings_along_is_not_shown() -> None:
    assert not {metric.name for metric in RegistryMetrics().collect()} & {"python_info", "process_open_fds"}
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry)
    Gauge("was_created", "No series of prometheus_client's.", registry=registry)
    assert {name for name, _ in read(RegistryMetrics(registry).collect())} == {"things_total", "was_created"}


# ------------------------------------------------------------------------------------------------ gzip


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZip;q=0.5, deflate", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity, deflate", False),
        ("gzip;q=x", False),
        (";;,=;q,gzip", True),
    ],
)
def test_who_takes_gzip(accept: str, expected: bool) -> None:
    assert accepts_gzip(accept) is expected


def test_gzip_is_what_it_was() -> None:
    text, _ = Exposition(Ledger(), version="2").render()
    assert gzip.decompress(compressed(text * 100)) == text * 100
    assert len(compressed(text * 100)) < len(text) * 10
