"""Large pages: what one step does is bounded, and the page is what prometheus_client writes. Work is counted."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import Callable, Generator, Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, Summary
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.samples import Sample
from tiny_listener_metrics import ApplicationMetrics, Exposition, Ledger, LedgerCollector, Recorder, RegistryMetrics
from tiny_listener_metrics import exposition as exposition_module
from tiny_listener_metrics.exposition import compress
from tiny_listener_metrics.format import Format
from tiny_listener_metrics.overview import count, counts_of
from tiny_listener_metrics.steps import SAMPLES, finish, slices
from tiny_listener_metrics.values import ValueKey

from tests.metrics.helpers import route

# prometheus_client has no types here.
generate_openmetrics: Callable[[Any], bytes] = openmetrics_exposition.generate_latest

OPENMETRICS = "application/openmetrics-text"
pytestmark = pytest.mark.timeout(300)

MOST_CALLS = 25_000
"""Of functions, of Python or C, in one step: some 5 ms."""


class Calls:
    """Counts the calls of functions in each step of an iterator."""

    def __init__(self) -> None:
        self.most = 0
        self.steps = 0
        self._count = 0

    def _profile(self, _frame: FrameType, event: str, _arg: Any) -> None:
        if event in ("call", "c_call"):
            self._count += 1

    def of(self, steps: Iterator[Any]) -> list[Any]:
        """Return what the iterator yields."""
        found: list[Any] = []
        before = sys.getprofile()
        while True:
            self._count = 0
            sys.setprofile(self._profile)
            try:
                one = next(steps)
            except StopIteration:
                return found
            finally:
                sys.setprofile(before)
                self.most = max(self.most, self._count)
                self.steps += 1
            found.append(one)


def checked(steps: Iterator[Any]) -> list[Any]:
    """Return what an iterator yields; no step does too much."""
    calls = Calls()
    found = calls.of(steps)
    assert calls.most < MOST_CALLS, f"{calls.most} calls in one of {calls.steps} steps"
    return found


def fill(application: ApplicationMetrics, worker: str, kind: str, numbers: range) -> Any:
    """Let a worker have so many values, as its metrics would make them."""
    from tiny_listener_metrics.values import ValueStore

    row = application.open_row(worker)
    store = ValueStore(row.memory)
    for number in numbers:
        labels = (("id", str(number)),)
        if kind == "histogram":
            for bound in ("1.0", "+Inf"):
                at = store.add(ValueKey(kind, "", "things", "things_bucket", (*labels, ("le", bound)), "Things."))
                store.words[at] = number
            at = store.add(ValueKey(kind, "", "things", "things_sum", labels, "Things."))
        else:
            at = store.add(ValueKey(kind, "", "things", "things_total", labels, "Things."))
        store.words[at] = number
    return row


@pytest.mark.parametrize(("kind", "labels"), [("counter", 50_000), ("histogram", 16_000)])
def test_100_000_samples_of_the_application(kind: str, labels: int) -> None:
    application = ApplicationMetrics()
    rows = [fill(application, "0", kind, range(labels)), fill(application, "1", kind, range(labels // 2, labels + 500))]
    exposition = Exposition(Ledger(), version="2")
    exposition.show_application(application)
    text = b"".join(checked(exposition.pieces(None)[0]))
    openmetrics = b"".join(checked(exposition.pieces(OPENMETRICS)[0]))
    registry = exposition.registry
    assert text == generate_text(registry) + generate_text(application)
    own = generate_openmetrics(registry).removesuffix(b"# EOF\n")
    assert openmetrics == own + generate_openmetrics(application)
    assert text.count(b"\n") > labels
    assert gzip.decompress(b"".join(checked(compress(iter([text]))))) == text
    for row in rows:
        application.close_row(row)
    assert exposition.render()[0] == text


def test_many_samples_of_the_only_process() -> None:
    registry = CollectorRegistry(target_info={"service": "x"})
    things = Counter("things", "Things.", ["id"], registry=registry)
    waits = Histogram("waits", "Waits.", ["id"], buckets=(1,), registry=registry)
    Summary("sizes", "Sizes.", registry=registry).observe(2)
    for number in range(20_000):
        things.labels(str(number)).inc(number)
    for number in range(5_000):
        waits.labels(str(number)).observe(1)
    exposition = Exposition(Ledger(), version="2")
    exposition.show_application(RegistryMetrics(registry))
    for accept, generate in ((None, generate_text), (OPENMETRICS, generate_openmetrics)):
        page = b"".join(checked(exposition.pieces(accept)[0]))
        whole = [metric for metric in registry.collect() if metric.name != "none"]
        for metric in whole:
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]

        class Whole:
            def collect(self, whole: list[Metric] = whole) -> list[Metric]:
                return whole

        assert page.endswith(generate(Whole()))


def test_many_routes_and_workers() -> None:
    ledger = Ledger()
    exposition = Exposition(ledger, version="2")
    rows = [ledger.open_row() for _ in range(4)]
    for number, row in enumerate(rows):
        recorder = Recorder(row.writer())
        for path in range(1500 + number):
            observer = recorder.route_added(route(f"GET:/{path}"))
            observer.event_done(0.01, "ok")
            observer.http_response("GET", 200, 0.01 * number)
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger))
    text = b"".join(checked(exposition.pieces(None)[0]))
    assert text == generate_text(registry) + generate_text(exposition.registry)
    openmetrics = b"".join(checked(exposition.pieces(OPENMETRICS)[0]))
    assert openmetrics == generate_openmetrics(registry).removesuffix(b"# EOF\n") + generate_openmetrics(
        exposition.registry
    )
    totals = ledger.totals()
    checked(count(totals))
    assert finish(count(totals)) == counts_of(totals)
    for row in rows:
        ledger.close_row(row)
    assert exposition.render()[0] == text


names = st.sampled_from(["m", "m_total", "m_created", "m_gsum", "m_gcount", "m_bucket", "m_info", "other"])
values = st.tuples(names, st.sampled_from(["", "a", "b"]), st.floats(), st.none() | st.integers(0, 5))


@given(
    st.sampled_from(["counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown"]),
    st.lists(values, max_size=12),
    st.integers(1, 4),
)
def test_a_metric_in_parts_is_the_metric(kind: str, found: list[Any], most: int) -> None:
    metric = Metric("m", "Help \\ with\nlines.", kind)
    metric.samples = [Sample(name, {"l": label} if label else {}, value, when) for name, label, value, when in found]

    class Alone:
        def collect(self) -> list[Metric]:
            return [metric]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiny_listener_metrics.format.SAMPLES", most)
        for generate, end in ((generate_text, ""), (generate_openmetrics, "# EOF\n")):
            pieces = list(Format(generate, "", end).metric(metric))
            assert b"".join(pieces) + end.encode() == generate(Alone())


def test_a_metric_that_cannot_be_written_to_its_end_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    broken = Metric("broken", "Cannot be written.", "gauge")
    for number in range(3 * SAMPLES):
        broken.add_sample("broken", {"id": str(number)}, number)
    broken.samples.append(Sample("broken", {}, "no number", None, None))  # type: ignore[arg-type]

    class Application:
        def collect(self) -> Iterator[Metric]:
            yield broken
            yield Metric("fine", "Is fine.", "gauge")

    exposition = Exposition(Ledger(), version="2")
    exposition.show_application(Application())
    page = exposition.render()[0]
    assert b"broken" not in page
    assert b"# TYPE fine gauge" in page
    assert "broken of the application is not exposed" in caplog.text


def test_a_worker_that_dies_while_it_is_read_counts_once() -> None:
    ledger, application = Ledger(), ApplicationMetrics()
    exposition = Exposition(ledger, version="2")
    exposition.show_application(application)
    rows = [ledger.open_row() for _ in range(2)]
    for row in rows:
        Recorder(row.writer()).route_added(route("GET:/")).event_done(0.01, "ok")
    values = [fill(application, str(number), "counter", range(5000)) for number in range(2)]
    before = exposition.render()[0]
    length = sum(1 for _ in exposition.pieces()[0])
    alive = list(zip(rows, values, strict=True))
    for stop in range(0, length, 3):
        pieces = exposition.pieces()[0]
        page = [next(pieces) for _ in range(stop)]
        dying = alive.pop()
        ledger.close_row(dying[0])
        application.close_row(dying[1])
        assert b"".join([*page, *pieces]) == before
        assert exposition.render()[0] == before
        if not alive:
            break
    abandoned = exposition.pieces()[0]
    next(abandoned)
    abandoned.close()
    assert ledger.rows == ()
    assert exposition.render()[0] == before


def test_one_reading_at_a_time() -> None:
    ledger = Ledger()
    Recorder(ledger.open_row().writer()).not_found()
    steps: Generator[None, None, Any] = ledger.read()
    next(steps)
    with pytest.raises(RuntimeError, match="another read"):
        ledger.totals()
    steps.close()
    assert list(ledger.totals().values()) == [[1]]


def test_the_dead_are_folded_while_the_event_loop_goes_on(runner: asyncio.Runner) -> None:
    application = ApplicationMetrics()

    async def main() -> None:
        rows = [fill(application, str(number), "counter", range(9000)) for number in range(2)]
        before = generate_text(application)
        for row in rows:
            application.close_row(row)
            assert generate_text(application) == before
        iterations = 0
        while application._dead:
            await asyncio.sleep(0)
            iterations += 1
            if iterations == 3:
                assert generate_text(application) == before
        assert iterations > 8
        assert application._rows == {}
        assert generate_text(application) == before

    runner.run(main())


def test_slices() -> None:
    assert list(slices(0, 2)) == []
    assert list(slices(5, 2)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(slices(5, 2, 3)) == [slice(3, 5)]
    assert exposition_module.MAX_COMPRESSED == 65536
