"""`tiny_listener_accept_queue`: connections that wait to be accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

__all__ = ["AcceptQueues"]


class AcceptQueues:
    """A collector of accept queue depths.

    :param look: returns them by worker, at the time of a scrape
    """

    def __init__(self, look: Callable[[], Mapping[str, int]]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        """Yield the current depths."""
        metric = _family()
        for worker, depth in self._look().items():
            metric.add_metric((worker,), depth)
        yield metric

    def describe(self) -> Iterable[Metric]:
        """Yield the name in use."""
        yield _family()


def _family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "tiny_listener_accept_queue",
        "Connections that wait to be accepted, by the worker that owns the socket.",
        labels=("worker",),
    )
