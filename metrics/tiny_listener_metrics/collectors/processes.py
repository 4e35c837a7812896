"""Process metrics at the time of a scrape, and the number of worker restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

__all__ = ["ProcessView", "Processes", "ServerView"]


class ProcessView(NamedTuple):
    """One process. None: not exposed.

    :ivar worker: slot number, "supervisor" or "carrier"
    :ivar lag: seconds
    :ivar cpu: seconds
    :ivar resident: bytes
    :ivar virtual: bytes
    :ivar started: seconds since the epoch
    """

    worker: str
    lag: float | None = None
    cpu: float | None = None
    resident: int | None = None
    virtual: int | None = None
    started: float | None = None
    open_fds: int | None = None
    max_fds: int | None = None


class ServerView(NamedTuple):
    """A server.

    :ivar processes: no two with the same `worker`
    :ivar in_progress: events in progress, of all workers
    :ivar connections: open connections, of all workers
    :ivar states: number of workers by state; None without a supervisor
    :ivar restarts: number of workers that replaced another, by reason; None without a supervisor
    :ivar supervisor_lag: delay of the supervisor's own event loop in seconds; None without a supervisor
    """

    processes: Sequence[ProcessView]
    in_progress: int
    connections: int
    states: Mapping[str, int] | None = None
    restarts: Mapping[str, int] | None = None
    supervisor_lag: float | None = None


class Processes:
    """A collector of process metrics.

    :param look: returns them at the time of a scrape
    """

    def __init__(self, look: Callable[[], ServerView]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        view = self._look()
        in_progress, connections, states, restarts, supervisor_lag, of_processes = _families()
        in_progress.add_metric((), view.in_progress)
        connections.add_metric((), view.connections)
        found: list[Metric] = [in_progress, connections]
        for family, counts in ((states, view.states), (restarts, view.restarts)):
            if counts is not None:
                for label, count in counts.items():
                    family.add_metric((label,), count)
                found.append(family)
        if view.supervisor_lag is not None:
            supervisor_lag.add_metric((), view.supervisor_lag)
            found.append(supervisor_lag)
        for field, family in of_processes.items():
            for process in view.processes:
                value = getattr(process, field)
                if value is not None:
                    family.add_metric((process.worker,), value)
            found.append(family)
        return found

    def describe(self) -> Iterable[Metric]:
        """Return the names in use."""
        *few, of_processes = _families()
        return (*few, *of_processes.values())


_Family = CounterMetricFamily | GaugeMetricFamily


def _families() -> tuple[_Family, _Family, _Family, _Family, _Family, dict[str, _Family]]:
    worker = ("worker",)
    return (
        GaugeMetricFamily("tiny_listener_events_in_progress", "Events in progress."),
        GaugeMetricFamily("tiny_listener_connections", "Open HTTP connections."),
        GaugeMetricFamily("tiny_listener_workers", "Workers, by state.", labels=("state",)),
        CounterMetricFamily(
            "tiny_listener_worker_restarts", "Workers that replaced another, by reason.", labels=("reason",)
        ),
        GaugeMetricFamily(
            "tiny_listener_supervisor_event_loop_lag_seconds",
            "Longest delay of the supervisor's own event loop in the last 15 to 30 seconds.",
            unit="seconds",
        ),
        {
            "lag": GaugeMetricFamily(
                "tiny_listener_event_loop_lag_seconds",
                "Longest delay of the event loop in the last 15 to 30 seconds, or how long it is blocked now.",
                labels=worker,
                unit="seconds",
            ),
            "cpu": CounterMetricFamily(
                "process_cpu_seconds", "Processor time used, in user and kernel mode.", labels=worker, unit="seconds"
            ),
            "resident": GaugeMetricFamily(
                "process_resident_memory_bytes", "Resident memory.", labels=worker, unit="bytes"
            ),
            "virtual": GaugeMetricFamily(
                "process_virtual_memory_bytes", "Virtual memory.", labels=worker, unit="bytes"
            ),
            "started": GaugeMetricFamily(
                "process_start_time_seconds",
                "Start time of the process, since the epoch.",
                labels=worker,
                unit="seconds",
            ),
            "open_fds": GaugeMetricFamily("process_open_fds", "Open file descriptors.", labels=worker),
            "max_fds": GaugeMetricFamily("process_max_fds", "Maximum number of open file descriptors.", labels=worker),
        },
    )
