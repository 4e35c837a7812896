"""The page that Prometheus fetches, from the totals of a ledger.

`LedgerCollector` is a collector as prometheus_client knows them. `Exposition.render` gives the text that
prometheus_client writes for it, in a tenth of the time: nearly all that a sample costs there goes into
names and labels, which never change. So prometheus_client writes each series once, with zeros, and
`_Format` keeps its lines without the numbers; a later page is these lines with new numbers. That the two
texts are equal, byte for byte, is tested.
"""

from __future__ import annotations

import gzip
import logging
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as OpenMetricsExemplar
from prometheus_client.utils import floatToGoString

from .exemplars import Exemplar
from .ledger import Exemplars, Ledger
from .row import NANOSECONDS
from .series import FAMILIES, Family, Series

__all__ = ["Exposition", "LedgerCollector", "accepts_gzip", "accepts_openmetrics", "compressed"]

_log = logging.getLogger("tiny_listener.metrics")

MAX_LEFT_OUT: Final = 100
"""Metrics of the application that the log tells of: names may be made of anything."""
SUFFIXES: Final = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}
"""What the names of a metric's samples end with, by its type."""

Totals: TypeAlias = dict[Series, list[int]]


class LedgerCollector:
    """A prometheus_client collector of everything in a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        """Collect the totals of `ledger`, in the thread that owns it."""
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """The families that have series."""
        totals_of_all = self._ledger.totals()
        exemplars = self._ledger.exemplars()
        for family, totals in _by_family(totals_of_all):
            yield _metric(family, totals, exemplars)

    def describe(self) -> Iterator[Metric]:
        """All families, without samples, so that a registry knows which names are taken."""
        for family in FAMILIES.values():
            yield _metric(family, {})


class Exposition:
    """Writes the page, as text or as OpenMetrics."""

    def __init__(self, ledger: Ledger, *, version: str, python: str | None = None) -> None:
        """`version` of tiny-listener and of Python, by default of the one that runs, for `build_info`."""
        self.ledger = ledger
        """Whose totals it writes."""
        self.registry = CollectorRegistry()
        """Further collectors of this process, for the same page. The names of the ledger's are taken."""
        self.registry.register(_TakenNames(ledger))
        self.registry.register(_BuildInfo(version, python or platform.python_version()))
        self._application: Collector | None = None
        self._left_out: set[str] = set()
        """Names of metrics of the application that the log has told of."""
        self._text = _Format(generate_text, CONTENT_TYPE_PLAIN_0_0_4, "")
        self._openmetrics = _Format(generate_openmetrics, CONTENT_TYPE_OPENMETRICS, "# EOF\n")

    def render(self, accept: str | None = None) -> tuple[bytes, str]:
        """The page and its content type, for the value of the Accept field (None if there is none)."""
        form = self._openmetrics if accepts_openmetrics(accept or "") else self._text
        output: list[bytes] = []
        totals_of_all = self.ledger.totals()
        exemplars = self.ledger.exemplars() if form is self._openmetrics else {}
        for family, totals in _by_family(totals_of_all):
            form.append_family(output, family, totals, exemplars)
        own = list(self.registry.collect())
        output.append(form.write(own))
        if self._application is not None:
            self._append_application(output, form, own, self._application)
        output.append(form.end.encode())
        return b"".join(output), form.content_type

    def show_application(self, collector: Collector) -> None:
        """Show what the application measures itself. Whatever it is, the page is whole: a metric whose name is taken,
        by one of tiny-listener's or by another before it, or that cannot be written, is left out, and the log says so.
        """
        self._application = collector

    def _append_application(self, output: list[bytes], form: _Format, own: list[Metric], collector: Collector) -> None:
        taken = {name for metric in own for name in _names_of(metric.name, metric.type)}
        taken.update(name for family in FAMILIES.values() for name in _names_of(family.name, family.kind))
        for metric in collector.collect():
            names = _names_of(metric.name, metric.type)
            if not taken.isdisjoint(names):
                self._leave_out(metric.name, "its name is taken: give it another")
                continue
            try:
                output.append(form.write([metric]))
            except Exception as error:  # prometheus_client writes no metric that its format cannot have
                self._leave_out(metric.name, f"it cannot be written: {error.args[0] if error.args else error!r}")
            else:
                taken.update(names)

    def _leave_out(self, name: str, why: str) -> None:
        if name not in self._left_out and len(self._left_out) < MAX_LEFT_OUT:
            self._left_out.add(name)
            _log.warning("metrics: %s of the application is not on the page: %s", name, why)


def accepts_openmetrics(accept: str) -> bool:
    """Whether the value of an Accept field (RFC 9110, 12.5.1) asks for OpenMetrics 1 rather than text.

    prometheus_client's own choice takes the first type it knows, whatever its weight, repeats the client's
    version in the answer, and raises for a version that is no number.
    """
    openmetrics = text = 0.0
    for item in accept.split(","):
        name, *fields = (part.strip().lower() for part in item.split(";"))
        params = dict(field.partition("=")[::2] for field in fields)
        try:
            weight = float(params.get("q", "1"))
        except ValueError:
            continue
        if name == "application/openmetrics-text" and params.get("version", "1").split(".")[0] == "1":
            openmetrics = max(openmetrics, weight)
        elif name == "text/plain":
            text = max(text, weight)
    return openmetrics > 0 and openmetrics >= text


def _names_of(name: str, kind: str) -> list[str]:
    """The names that a metric takes."""
    return [name, *(name + suffix for suffix in SUFFIXES.get(kind, ()))]


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the value of an Accept-Encoding field (RFC 9110, 12.5.3) takes gzip."""
    weights: dict[str, float] = {}
    for item in accept_encoding.split(","):
        name, *fields = (part.strip().lower() for part in item.split(";"))
        params = dict(field.partition("=")[::2] for field in fields)
        try:
            weights[name] = float(params.get("q", "1"))
        except ValueError:
            continue
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def compressed(page: bytes) -> bytes:
    """The page in gzip (RFC 1952), at the level that takes the least time: it is a tenth as long even so."""
    return gzip.compress(page, 1, mtime=0)


class _TakenNames:
    """Holds the names of a ledger's families in a registry, and collects nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self._families = LedgerCollector(ledger)

    def describe(self) -> Iterable[Metric]:
        return self._families.describe()

    def collect(self) -> Iterable[Metric]:
        return ()


class _BuildInfo:
    """`tiny_listener_build_info`. No `prometheus_client.Gauge`: that one would write a file where the
    application has chosen prometheus_client's multi-process mode.
    """

    def __init__(self, version: str, python: str) -> None:
        self._metric = GaugeMetricFamily(
            "tiny_listener_build_info",
            "1, with the versions of tiny-listener and of Python as labels.",
            labels=("version", "python"),
        )
        self._metric.add_metric((version, python), 1)

    def collect(self) -> Iterable[Metric]:
        yield self._metric

    describe = collect


class _Format:
    """One of the two formats, with the lines that it has written before, without their numbers."""

    def __init__(self, generate: Callable[[Collector], bytes], content_type: str, end: str) -> None:
        self.generate = generate
        self.content_type = content_type
        self.end = end
        self._heads: dict[str, str] = {}
        self._forms: dict[Series, str] = {}
        """The lines of a series, `%s` for each number. As many as a ledger has series, which are bounded."""

    def append_family(self, output: list[bytes], family: Family, totals: Totals, exemplars: Exemplars) -> None:
        """Write a family: its HELP, TYPE and UNIT lines, and the lines of each series, with their exemplars."""
        missing = [series for series in totals if series not in self._forms]
        if missing:
            self._make_forms(family, missing)
        output.append(self._heads[family.name].encode())
        for series, words in totals.items():
            numbers = tuple(map(_number_text, _sample_values(family, words)))
            lines = self._forms[series] % numbers
            if series in exemplars:
                lines = _with_exemplars(lines, exemplars[series])
            output.append(lines.encode())

    def _make_forms(self, family: Family, missing: list[Series]) -> None:
        zeros = [0] * family.words
        head = self._heads[family.name] = self._write(_metric(family, {}))
        text = self._write(_metric(family, dict.fromkeys(missing, zeros))).removeprefix(head)
        # A line of the text is a sample: the formats escape the line feeds of labels.
        lines = text.replace("%", "%%").replace(f" {_ZERO}\n", " %s\n").split("\n")
        of_series = len(_sample_values(family, zeros))
        for number, series in enumerate(missing):
            self._forms[series] = "\n".join([*lines[number * of_series : (number + 1) * of_series], ""])

    def _write(self, metric: Metric) -> str:
        return self.write([metric]).decode()

    def write(self, metrics: Sequence[Metric]) -> bytes:
        """Write metrics, without the end of the page."""
        return self.generate(_These(metrics)).removesuffix(self.end.encode())


class _These:
    """A collector of some metrics."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


_go_number: Callable[[float], str] = floatToGoString
_ZERO: Final = _go_number(0)

# PERF: most numbers of a page stand there many times (a cumulative bucket repeats the one before), or stood
# there last time. 8192 of them are some 2 MB.
_number_text: Final = lru_cache(maxsize=8192)(_go_number)


def _by_family(totals: Totals) -> Iterator[tuple[Family, Totals]]:
    """The totals of each family that has any, in the order of `FAMILIES`."""
    families: dict[str, Totals] = {name: {} for name in FAMILIES}
    for series, words in totals.items():
        families[series.family][series] = words
    for name, of_family in families.items():
        if of_family:
            yield FAMILIES[name], of_family


def _sample_values(family: Family, words: list[int]) -> list[float]:
    """The numbers of a series' samples, in the order in which `_metric` has them."""
    if family.kind == "counter":
        return list(words)
    buckets: list[float] = list(accumulate(words[1:]))
    # The count is the last bucket: the two can never differ.
    return [*buckets, buckets[-1], words[0] / NANOSECONDS]


def _with_exemplars(lines: str, exemplars: dict[int, Exemplar]) -> str:
    """The lines of a histogram's series, of which the first are its buckets, with exemplars as OpenMetrics has them."""
    each = lines.split("\n")
    for bucket, (_, value, timestamp, trace_id) in exemplars.items():
        each[bucket] += f' # {{trace_id="{trace_id}"}} {_go_number(value)} {timestamp}'
    return "\n".join(each)


def _as_openmetrics(exemplar: Exemplar | None) -> Any:
    """The exemplar as prometheus_client knows them, whose types do not say that it may be None."""
    if exemplar is None:
        return None
    return OpenMetricsExemplar({"trace_id": exemplar.trace_id}, exemplar.value, exemplar.timestamp)


def _metric(family: Family, totals: Totals, exemplars: Exemplars | None = None) -> Metric:
    if family.kind == "counter":
        counter = CounterMetricFamily(family.name, family.documentation, labels=family.labels)
        for series, words in totals.items():
            for variant, count in zip(family.variants or (None,), words, strict=True):
                labels = series.labels if variant is None else (*series.labels, variant)
                counter.add_metric(labels, count)
        return counter
    histogram = HistogramMetricFamily(family.name, family.documentation, labels=family.labels, unit=family.unit)
    limits = [_go_number(bound) for bound in (*family.bounds, float("inf"))]
    for series, words in totals.items():
        *buckets, _, total = _sample_values(family, words)
        of_series = (exemplars or {}).get(series, {})
        found = [_as_openmetrics(of_series.get(bucket)) for bucket in range(len(limits))]
        histogram.add_metric(series.labels, list(zip(limits, buckets, found, strict=True)), total)
    return histogram
