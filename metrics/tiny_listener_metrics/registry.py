"""The default registry of prometheus_client, where there is one process: what the application has registered in it."""

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
"""What prometheus_client registers at import: the page has the process's and Python's own already."""

CREATED: Final = frozenset({"counter", "histogram", "summary"})
"""Types whose metrics have such series."""


class RegistryMetrics:
    """The metrics of the application: a collector for `Exposition.show_application`.

    :param registry: where they are registered
    """

    def __init__(self, registry: Collector = REGISTRY) -> None:
        self._registry = registry
        self._complained = False

    def collect(self) -> Iterator[Metric]:
        """All of them but those that prometheus_client brings along, and without `_created` series.

        A collector of the application's that raises costs what would come after it, and is named in the log once.
        """
        return complete(self.collect_in_steps())

    def collect_in_steps(self) -> Iterator[Metric | None]:
        """The same, as `format.Format.metric` takes them: samples are made when they are asked for."""
        metrics = iter(_collected(self._registry))
        while True:
            try:
                metric = next(metrics, _END)
            except Exception as error:
                if not self._complained:
                    self._complained = True
                    _log.warning("metrics: a collector of the application fails, on every page", exc_info=error)
                return
            if metric is _END:
                return
            if isinstance(metric, Metric) and metric.name not in BUILT_IN:
                yield metric if metric.type not in CREATED else _without_created(metric)


_END: Final = object()


def _collected(registry: Collector) -> Iterator[Any]:
    """Collect as `registry` does, but the samples of its own metrics come when they are asked for."""
    if type(registry) is not CollectorRegistry:
        yield from registry.collect()
        return
    with registry._lock:  # noqa: SLF001 - it has no other way to say which collectors there are
        collectors = list(registry._collector_to_names)  # noqa: SLF001
        has_info = registry._target_info  # noqa: SLF001
        info = registry._target_info_metric() if has_info else None  # type: ignore[no-untyped-call]  # noqa: SLF001
    if info:
        yield info
    for collector in collectors:
        if not isinstance(collector, MetricWrapperBase) or type(collector).collect is not MetricWrapperBase.collect:
            yield from collector.collect()
            continue
        # As its `collect` does, which returns when all samples are there.
        metric = collector._get_metric()  # type: ignore[no-untyped-call]  # noqa: SLF001
        metric.samples = _samples(collector)
        yield metric


def _samples(collector: MetricWrapperBase) -> Iterator[Sample]:
    for sample in collector._samples():  # noqa: SLF001
        yield sample._replace(name=collector._name + sample.name)  # noqa: SLF001


def _without_created(metric: Metric) -> Metric:
    """With several workers there are none either."""
    less: Any = copy(metric)
    less.samples = (sample for sample in metric.samples if not sample.name.endswith("_created"))
    kept: Metric = less
    return kept
