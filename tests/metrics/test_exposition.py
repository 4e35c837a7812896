"""The page: what other programs read in it, and that it is what prometheus_client writes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import DuplicateTimeseries
from tiny_listener_metrics import FAMILIES, Exposition, Ledger, LedgerCollector, ReloadCounts, Reloads
from tiny_listener_metrics.exposition import accepts_openmetrics
from tiny_listener_metrics.series import OUTCOMES, label_text

from tests.metrics.helpers import route, work, worker
from tiny_listener.core.observer import Outcome

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

# prometheus_client has no types here.
generate_openmetrics: Callable[[CollectorRegistry], bytes] = openmetrics_exposition.generate_latest

any_text = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["%s", "%", '"', "\\", "\n", " 0.0\n", "} 0.0", "{", "\x00", "\ud800", "\r\n", "GET:/ü", "\u2028", ""]
)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        work(recorder, 2)
        yield ledger


def samples(families: Iterator[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Name and labels of each sample, with its value; none is there twice."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in families:
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def parse(page: bytes, content_type: str) -> Iterator[Metric]:
    parser = parse_openmetrics if content_type == OPENMETRICS else parse_text
    return iter(parser(page.decode()))


@pytest.mark.parametrize("accept", [None, PROMETHEUS_2])
def test_what_is_counted_is_read(ledger: Ledger, accept: str | None) -> None:
    page, content_type = Exposition(ledger, version="2.0.0", python="3.11.7").render(accept)
    read = samples(parse(page, content_type))

    def value(name: str, **labels: str) -> float:
        return read[name, frozenset(labels.items())]

    event = "GET:/user/{username}"
    for outcome in OUTCOMES:
        assert value("tiny_listener_events_total", event=event, outcome=outcome) == 2
    assert value("tiny_listener_not_found_total") == 2
    assert value("tiny_listener_dispatch_seconds_count", event=event) == 2 * len(OUTCOMES)
    assert value("tiny_listener_dispatch_seconds_sum", event=event) == pytest.approx(0.006)
    assert value("tiny_listener_dispatch_seconds_bucket", event=event, le="0.0001") == 2
    assert value("tiny_listener_dispatch_seconds_bucket", event=event, le="0.0005") == 4
    assert value("tiny_listener_dispatch_seconds_bucket", event=event, le="+Inf") == 2 * len(OUTCOMES)
    response = {
        "http_request_method": "GET",
        "http_route": "/user/{username}",
        "http_response_status_code": "200",
    }
    assert value("http_server_request_duration_seconds_count", **response) == 2
    assert value("http_server_request_duration_seconds_sum", **response) == pytest.approx(0.04)
    response |= {"http_route": "", "http_response_status_code": "404"}
    assert value("http_server_request_duration_seconds_count", **response) == 2
    assert value("tiny_listener_build_info", version="2.0.0", python="3.11.7") == 1
    assert not any("_created" in name for name, _ in read)


def test_types_units_and_help(ledger: Ledger) -> None:
    page, content_type = Exposition(ledger, version="2").render(PROMETHEUS_2)
    families = {family.name: family for family in parse(page, content_type)}
    assert list(families) == [*FAMILIES, "tiny_listener_build_info"]
    for name, family in FAMILIES.items():
        assert families[name].type == family.kind
        assert families[name].unit == family.unit
        assert families[name].documentation == family.documentation
        assert not family.unit or name.endswith(f"_{family.unit}")


durations = st.lists(st.floats(0, 1e5), max_size=10)


@given(st.lists(st.tuples(any_text, st.sampled_from(OUTCOMES), durations), max_size=8))
def test_the_page_is_what_prometheus_client_writes(events: list[tuple[str, Outcome, list[float]]]) -> None:
    ledger = Ledger(capacity=1 << 16)
    exposition = Exposition(ledger, version="2")
    with worker(ledger) as (_, recorder):
        for path, outcome, seconds in events:
            observer = recorder.route_added(route(path))
            for one in seconds:
                observer.event_done(one, outcome)
                observer.http_response("GET", 200, one)
        first = exposition.render(), exposition.render(PROMETHEUS_2)
        recorder.not_found()
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger))
    own_part = generate_text(exposition.registry), generate_openmetrics(exposition.registry)
    text, openmetrics = exposition.render()[0], exposition.render(PROMETHEUS_2)[0]
    assert text == generate_text(registry) + own_part[0]
    assert openmetrics == generate_openmetrics(registry).removesuffix(b"# EOF\n") + own_part[1]
    assert (text, openmetrics) != (first[0][0], first[1][0])

    read = samples(parse(text, TEXT))
    assert read == samples(parse(openmetrics, OPENMETRICS))
    for path, _, _ in events:
        assert ("tiny_listener_dispatch_seconds_sum", frozenset([("event", label_text(path))])) in read
    for (name, labels), value in read.items():
        if name.endswith("_count"):
            assert read[name.replace("_count", "_bucket"), labels | {("le", "+Inf")}] == value


def test_an_empty_ledger_has_a_page() -> None:
    page, content_type = Exposition(Ledger(), version="2").render()
    assert content_type == TEXT
    assert list(samples(parse(page, content_type)).values()) == [1]


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("paths", [["GET:/user/{username}"], ['a"b\\c\nd', "\x00\ud800\r%s", "ü", ""], []])
def test_promtool_finds_no_fault(paths: list[str]) -> None:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        for path in paths:
            work(recorder, 3, path)
    page, _ = Exposition(ledger, version="2").render()
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# ------------------------------------------------------------------------------------------ the format


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/plain", False),
        ("text/plain;version=0.0.4", False),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0", True),
        ("application/openmetrics-text;version=1.1.0", True),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;version=one", False),
        ("application/openmetrics-text;version=", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
        ("application/openmetrics-text;q=nan", False),
        ("text/plain, application/openmetrics-text;q=0.5", False),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.5", True),
        (";;,=;q,application/openmetrics-text;;", True),
    ],
)
def test_the_choice_of_the_format(accept: str, expected: bool) -> None:
    assert accepts_openmetrics(accept) is expected
    _, content_type = Exposition(Ledger(), version="2").render(accept)
    assert content_type == (OPENMETRICS if expected else TEXT)


@given(st.text())
def test_no_accept_field_is_an_error(accept: str) -> None:
    accepts_openmetrics(accept)


# -------------------------------------------------------------------------------------- other collectors


def test_the_default_registry_is_not_on_the_page(ledger: Ledger) -> None:
    assert generate_text(REGISTRY)
    page, _ = Exposition(ledger, version="2").render()
    assert b"python_gc" not in page
    assert b"process_" not in page


@pytest.mark.parametrize("accept", [None, PROMETHEUS_2])
def test_further_collectors_of_the_process(ledger: Ledger, accept: str | None) -> None:
    exposition = Exposition(ledger, version="2")
    Counter("own_things", "Things.", registry=exposition.registry).inc()
    read = samples(parse(*exposition.render(accept)))
    assert read["own_things_total", frozenset()] == 1
    assert read["tiny_listener_not_found_total", frozenset()] == 2


@pytest.mark.parametrize("name", ["tiny_listener_events", "tiny_listener_build_info"])
def test_names_are_taken(ledger: Ledger, name: str) -> None:
    exposition = Exposition(ledger, version="2")
    with pytest.raises(DuplicateTimeseries):
        Counter(name, "Taken.", registry=exposition.registry)


def test_a_collector_describes_all_its_families(ledger: Ledger) -> None:
    collector = LedgerCollector(ledger)
    assert [(metric.name, metric.samples) for metric in collector.describe()] == [(name, []) for name in FAMILIES]
    assert [metric.name for metric in collector.collect()] == list(FAMILIES)


def test_public_names() -> None:
    import tiny_listener_metrics

    assert tiny_listener_metrics.__all__ == sorted(tiny_listener_metrics.__all__, key=lambda n: (not n.isupper(), n))
    assert all(hasattr(tiny_listener_metrics, name) for name in tiny_listener_metrics.__all__)


def test_reloads_are_shown() -> None:
    exposition = Exposition(Ledger(), version="2")
    counts = ReloadCounts(3, 1, True, -9)  # noqa: FBT003 - its fields are documented
    exposition.registry.register(Reloads(lambda: counts))
    page = exposition.render()[0].decode()
    for line in (
        'tiny_listener_reloads_total{outcome="done"} 3.0',
        'tiny_listener_reloads_total{outcome="failed"} 1.0',
        "tiny_listener_last_reload_successful 0.0",
        "tiny_listener_last_reload_exit_code -9.0",
    ):
        assert f"{line}\n" in page
    with pytest.raises(ValueError, match="Duplicated"):
        exposition.registry.register(Reloads(lambda: counts))
