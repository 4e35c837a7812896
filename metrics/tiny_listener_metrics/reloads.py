"""What became of reloads, for an alert on new code that does not boot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

__all__ = ["ReloadCounts", "Reloads"]


class ReloadCounts(NamedTuple):
    """Reloads since the supervisor started."""

    done: int
    """How many ended with the new code in every worker."""
    failed: int
    """How many ended because a new worker could not boot, or did not live through its probation."""
    last_failed: bool
    """Whether the last one did. One that still runs has not failed."""
    exit_code: int
    """Of that worker, or minus the number of the signal that killed it; 0 if the last one did not fail."""


class Reloads:
    """A collector of what became of reloads.

    :param look: returns it, at the time of a scrape
    """

    def __init__(self, look: Callable[[], ReloadCounts]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        """The counts as they are now."""
        counts = self._look()
        total, successful, exit_code = _families()
        total.add_metric(("done",), counts.done)
        total.add_metric(("failed",), counts.failed)
        successful.add_metric((), not counts.last_failed)
        exit_code.add_metric((), counts.exit_code)
        return (total, successful, exit_code)

    def describe(self) -> Iterable[Metric]:
        """The names, which are taken."""
        return _families()


def _families() -> tuple[CounterMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    return (
        CounterMetricFamily("tiny_listener_reloads", "Reloads that ended, by how.", labels=("outcome",)),
        GaugeMetricFamily(
            "tiny_listener_last_reload_successful",
            "0 if the last reload failed, because a new worker did not boot or not live; else 1.",
        ),
        GaugeMetricFamily(
            "tiny_listener_last_reload_exit_code",
            "The exit code of that worker, or minus the number of the signal that killed it; 0 if none failed.",
        ),
    )
