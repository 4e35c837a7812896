"""The outcomes of reloads, for an alert on new code that does not boot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

__all__ = ["ReloadCounts", "Reloads"]


class ReloadCounts(NamedTuple):
    """Reloads since the supervisor started."""

    done: int
    """Reloads that ended with the new code in every worker."""
    failed: int
    """Reloads that ended because a new worker did not boot or failed its probation."""
    last_failed: bool
    """Whether the last reload failed. A reload in progress has not failed."""
    exit_code: int
    """Exit code of the worker that failed, or the negated number of the signal that killed it; 0 if the last reload did
    not fail."""


class Reloads:
    """A collector of the outcomes of reloads.

    :param look: returns them at the time of a scrape
    """

    def __init__(self, look: Callable[[], ReloadCounts]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        """Return the current counts."""
        counts = self._look()
        total, successful, exit_code = _families()
        total.add_metric(("done",), counts.done)
        total.add_metric(("failed",), counts.failed)
        successful.add_metric((), not counts.last_failed)
        exit_code.add_metric((), counts.exit_code)
        return (total, successful, exit_code)

    def describe(self) -> Iterable[Metric]:
        """Return the names in use."""
        return _families()


def _families() -> tuple[CounterMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    return (
        CounterMetricFamily("tiny_listener_reloads", "Reloads that ended, by outcome.", labels=("outcome",)),
        GaugeMetricFamily(
            "tiny_listener_last_reload_successful",
            "0 if the last reload failed because a new worker did not boot or failed its probation, otherwise 1.",
        ),
        GaugeMetricFamily(
            "tiny_listener_last_reload_exit_code",
            "Exit code of that worker, or the negated number of the signal that killed it; 0 after a success.",
        ),
    )
