"""One format of the metrics page, written from families of the ledger and from metrics of prometheus_client.

prometheus_client takes ten times as long: nearly all of a sample's cost is in its name and labels, which never change.
So prometheus_client writes each series once, with zeros, and `Format` keeps these lines as templates. Later pages are
the templates with new numbers. Tests check that the two texts are equal byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import lru_cache
from itertools import accumulate, islice
from typing import Any, Final, TypeAlias

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as OpenMetricsExemplar
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from .exemplars import Exemplar
from .ledger import Exemplars
from .row import NANOSECONDS
from .series import Family, Series
from .steps import SAMPLES, VALUES, slices

__all__ = ["Format", "Totals", "complete", "family_metric"]

Totals: TypeAlias = dict[Series, list[int]]

NOT_TEXT: Final = ("_created", "_gcount", "_gsum")
"""Samples that do not exist in the text format: prometheus_client writes them as gauges, after the others."""


class Format:
    """One of the two formats, with templates of the lines that it has written before.

    It yields pieces of the page, each with few samples.
    """

    def __init__(self, generate: Callable[[Collector], bytes], content_type: str, end: str) -> None:
        self.generate = generate
        self.content_type = content_type
        self.end = end
        self._is_text = not end
        self._heads: dict[str, str] = {}
        self._templates: dict[Series, str] = {}
        """The lines of a series, with `%s` for each number. The number of series in a ledger is bounded."""

    def family(self, family: Family, totals: Totals, exemplars: Exemplars) -> Iterator[bytes]:
        """Write a family: its HELP, TYPE and UNIT lines, and the lines of each series, with their exemplars."""
        of_series = len(_sample_values(family, [0] * family.words))
        missing = [series for series in totals if series not in self._templates]
        for part in slices(len(missing), max(1, SAMPLES // of_series)):
            self._make_templates(family, missing[part])
            yield b""
        yield self._heads[family.name].encode()
        items = iter(totals.items())
        while some := list(islice(items, max(1, VALUES // of_series))):
            found = []
            for series, words in some:
                numbers = tuple(map(_number_text, _sample_values(family, words)))
                lines = self._templates[series] % numbers
                if series in exemplars:
                    lines = _with_exemplars(lines, exemplars[series])
                found.append(lines)
            yield "".join(found).encode()

    def _make_templates(self, family: Family, missing: list[Series]) -> None:
        zeros = [0] * family.words
        head = self._heads[family.name] = self._write(family_metric(family, {})).decode()
        text = self._write(family_metric(family, dict.fromkeys(missing, zeros))).decode().removeprefix(head)
        # Each line is one sample: the formats escape line feeds in labels.
        lines = text.replace("%", "%%").replace(f" {_ZERO}\n", " %s\n").split("\n")
        of_series = len(_sample_values(family, zeros))
        for number, series in enumerate(missing):
            self._templates[series] = "\n".join([*lines[number * of_series : (number + 1) * of_series], ""])

    def metric(self, metric: Metric) -> Iterator[bytes]:
        """Write a metric whose `samples` may be any iterable; a None among them lets the event loop run.

        Raises what prometheus_client raises for a metric that the format does not allow.
        """
        head = self._write(_with(metric, []))
        yield head
        late = {metric.name + suffix: list[Sample]() for suffix in NOT_TEXT} if self._is_text else {}
        some: list[Sample] = []
        samples: Iterator[Sample | None] = iter(metric.samples)
        for sample in samples:
            if sample is None:
                yield b""
                continue
            late.get(sample.name, some).append(sample)
            if len(some) == SAMPLES:
                yield self._write(_with(metric, some)).removeprefix(head)
                some.clear()
        yield self._write(_with(metric, some)).removeprefix(head)
        for of_name in late.values():
            for part in slices(len(of_name), SAMPLES):
                text = self._write(_with(metric, of_name[part])).removeprefix(head)
                # They have their own HELP and TYPE lines, once.
                yield text if part.start == 0 else text.split(b"\n", 2)[2]

    def _write(self, metric: Metric) -> bytes:
        """Write a whole metric, without the end of the page."""
        return self.generate(_These([metric])).removesuffix(self.end.encode())


def complete(metrics: Iterable[Metric | None]) -> Iterator[Metric]:
    """Return metrics with lists of samples, as required outside of `Format.metric`."""
    for metric in metrics:
        if metric is not None:
            metric.samples = [sample for sample in metric.samples if sample is not None]
            yield metric


def _with(metric: Metric, samples: list[Sample]) -> Metric:
    some = copy(metric)
    some.samples = samples
    return some


class _These:
    """A collector of given metrics."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


_go_number: Callable[[float], str] = floatToGoString
_ZERO: Final = _go_number(0)

# PERF: most numbers occur several times on a page (a cumulative bucket repeats the one before), or occurred on the last
# page. 8192 of them take some 2 MB.
_number_text: Final = lru_cache(maxsize=8192)(_go_number)


def _sample_values(family: Family, words: list[int]) -> list[float]:
    """Return the numbers of a series' samples, in the order of `family_metric`."""
    if family.kind == "counter":
        return list(words)
    buckets: list[float] = list(accumulate(words[1:]))
    # The count is the last bucket, so the two cannot differ.
    return [*buckets, buckets[-1], words[0] / NANOSECONDS]


def _with_exemplars(lines: str, exemplars: dict[int, Exemplar]) -> str:
    """Add exemplars in OpenMetrics syntax to the lines of a histogram series, which start with its buckets."""
    each = lines.split("\n")
    for bucket, (_, value, timestamp, trace_id) in exemplars.items():
        each[bucket] += f' # {{trace_id="{trace_id}"}} {_go_number(value)} {timestamp}'
    return "\n".join(each)


def _as_openmetrics(exemplar: Exemplar | None) -> Any:
    """Return the exemplar as prometheus_client's type; its annotations do not mention that it may be None."""
    if exemplar is None:
        return None
    return OpenMetricsExemplar({"trace_id": exemplar.trace_id}, exemplar.value, exemplar.timestamp)


def family_metric(family: Family, totals: Totals, exemplars: Exemplars | None = None) -> Metric:
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
