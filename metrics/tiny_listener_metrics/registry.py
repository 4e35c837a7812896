"""The default registry of prometheus_client, where there is one process: what the application has registered in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from copy import copy
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

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
        metrics = iter(self._registry.collect())
        while True:
            try:
                metric = next(metrics, None)
            except Exception as error:
                if not self._complained:
                    self._complained = True
                    _log.warning("metrics: a collector of the application fails, on every page", exc_info=error)
                return
            if metric is None:
                return
            if isinstance(metric, Metric) and metric.name not in BUILT_IN:
                yield metric if metric.type not in CREATED else _without_created(metric)


def _without_created(metric: Metric) -> Metric:
    """With several workers there are none either."""
    less = copy(metric)
    less.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    return less
