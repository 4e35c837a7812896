"""The default registry of prometheus_client, for a single process: metrics that the application registered there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from copy import copy
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from .format import complete

__all__ = ["RegistryMetrics"]

_log = logging.getLogger("tiny_listener.metrics")

BUILT_IN: Final = frozenset({
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds",
    "process_open_fds",
    "process_max_fds",
    "python_info",
    "python_gc_objects_collected",
    "python_gc_objects_uncollectable",
    "python_gc_collections",
})  # fmt: skip
"""Metrics that prometheus_client registers at import: the page has process and Python metrics already."""

CREATED: Final = frozenset({"counter", "histogram", "summary"})
"""Metric types with `_created` series."""


class RegistryMetrics:
    """The metrics of the application: a collector for `Exposition.show_application`.

    :param registry: where they are registered
    """

    def __init__(self, registry: Collector = REGISTRY) -> None:
        self._registry = registry
        self._logged = False

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics except the built-in ones of prometheus_client, without `_created` series.

        If a collector of the application raises, the metrics after it are lost; the log says so once.
        """
        return complete(self.collect_in_steps())

    def collect_in_steps(self) -> Iterator[Metric | None]:
        """Yield the same in the form that `format.Format.metric` takes: samples are made lazily."""
        metrics = iter(_collected(self._registry))
        while True:
            try:
                metric = next(metrics, _END)
            except Exception as error:
                if not self._logged:
                    self._logged = True
                    _log.warning("metrics: a collector of the application raises; metrics are missing", exc_info=error)
                return
            if metric is _END:
                return
            if isinstance(metric, Metric) and metric.name not in BUILT_IN:
                yield metric if metric.type not in CREATED else _without_created(metric)


_END: Final = object()


def _collected(registry: Collector) -> Iterator[Any]:
    """Collect as `registry` does, but make the samples of its own metrics lazily."""
    if type(registry) is not CollectorRegistry:
        yield from registry.collect()
        return
    with registry._lock:  # noqa: SLF001 - there is no public way to list collectors
        collectors = list(registry._collector_to_names)  # noqa: SLF001
        has_info = registry._target_info  # noqa: SLF001
        info = registry._target_info_metric() if has_info else None  # type: ignore[no-untyped-call]  # noqa: SLF001
    if info:
        yield info
    for collector in collectors:
        if not isinstance(collector, MetricWrapperBase) or type(collector).collect is not MetricWrapperBase.collect:
            yield from collector.collect()
            continue
        # Like its `collect`, which returns only when all samples are made.
        metric = collector._get_metric()  # type: ignore[no-untyped-call]  # noqa: SLF001
        metric.samples = _samples(collector)
        yield metric


def _samples(collector: MetricWrapperBase) -> Iterator[Sample]:
    for sample in collector._samples():  # noqa: SLF001
        yield sample._replace(name=collector._name + sample.name)  # noqa: SLF001


def _without_created(metric: Metric) -> Metric:
    """With several workers there are no `_created` series either."""
    less: Any = copy(metric)
    less.samples = (sample for sample in metric.samples if not sample.name.endswith("_created"))
    kept: Metric = less
    return kept
