"""What the processes of a server do at the instant of a scrape, and how often workers were replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

__all__ = ["ProcessView", "Processes", "ServerView"]


class ProcessView(NamedTuple):
    """One process; what is None is not on the page.

    :ivar worker: the number of its slot, or "supervisor"
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
    :ivar in_progress: events, of all workers
    :ivar connections: of all workers
    :ivar states: how many workers there are, by state; None without a supervisor
    :ivar restarts: how many workers took the place of another, by reason; None without a supervisor
    :ivar supervisor_lag: seconds that the supervisor's own event loop was late; None without a supervisor
    """

    processes: Sequence[ProcessView]
    in_progress: int
    connections: int
    states: Mapping[str, int] | None = None
    restarts: Mapping[str, int] | None = None
    supervisor_lag: float | None = None


class Processes:
    """A collector of all this.

    :param look: returns it, at the time of a scrape
    """

    def __init__(self, look: Callable[[], ServerView]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        """Everything as it is now."""
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
        """The names, which are taken."""
        *few, of_processes = _families()
        return (*few, *of_processes.values())


_Family = CounterMetricFamily | GaugeMetricFamily


def _families() -> tuple[_Family, _Family, _Family, _Family, _Family, dict[str, _Family]]:
    worker = ("worker",)
    return (
        GaugeMetricFamily("tiny_listener_events_in_progress", "Events whose handling has begun and not ended."),
        GaugeMetricFamily("tiny_listener_connections", "HTTP connections that are open."),
        GaugeMetricFamily("tiny_listener_workers", "Workers, by the state of their life.", labels=("state",)),
        CounterMetricFamily(
            "tiny_listener_worker_restarts", "Workers that took the place of another, by why.", labels=("reason",)
        ),
        GaugeMetricFamily(
            "tiny_listener_supervisor_event_loop_lag_seconds",
            "The longest that the supervisor's own event loop was late in the last 15 to 30 seconds.",
            unit="seconds",
        ),
        {
            "lag": GaugeMetricFamily(
                "tiny_listener_event_loop_lag_seconds",
                "The longest that the event loop was late in the last 15 to 30 seconds, or has stood still by now.",
                labels=worker,
                unit="seconds",
            ),
            "cpu": CounterMetricFamily(
                "process_cpu_seconds", "Processor time that the process has taken.", labels=worker, unit="seconds"
            ),
            "resident": GaugeMetricFamily(
                "process_resident_memory_bytes", "Resident memory.", labels=worker, unit="bytes"
            ),
            "virtual": GaugeMetricFamily("process_virtual_memory_bytes", "Address space.", labels=worker, unit="bytes"),
            "started": GaugeMetricFamily(
                "process_start_time_seconds",
                "When the process started, since the epoch.",
                labels=worker,
                unit="seconds",
            ),
            "open_fds": GaugeMetricFamily("process_open_fds", "Open file descriptors.", labels=worker),
            "max_fds": GaugeMetricFamily("process_max_fds", "How many there may be.", labels=worker),
        },
    )
