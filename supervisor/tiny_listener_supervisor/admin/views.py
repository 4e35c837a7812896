"""Process metrics, from the workers' vitals and from the kernel."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..fleet.slot import WorkerState
from ..system.proc import process_numbers
from ..worker.heartbeat import read_vitals

if TYPE_CHECKING:
    from tiny_listener_metrics import ProcessView, PublishedView, ServerView

    from tiny_listener.events.questions import View

    from ..fleet.slot import Slot
    from .status import CarrierStatus

__all__ = ["published_view", "view_of", "view_of_the_only_process"]

SUPERVISOR = "supervisor"
"""Label value of the supervisor, in place of a slot number."""
CARRIER = "carrier"
"""The same of the carrier of published events."""


def view_of(
    slots: Sequence[Slot],
    restarts: Mapping[str, int],
    now: float,
    lag: float | None = None,
    carrier: CarrierStatus | None = None,
) -> ServerView:
    """Return the process metrics of a supervisor and its workers.

    :param restarts: number of restarts, by reason
    :param now: on the monotonic clock
    :param lag: delay of the supervisor's own loop in seconds
    :param carrier: the carrier of published events; None: there is none
    """
    from tiny_listener_metrics import ServerView  # noqa: PLC0415 - only where there are metrics

    views, in_progress, connections = [_process(SUPERVISOR, os.getpid(), None)], 0, 0
    if carrier is not None and carrier.pid is not None:
        views.append(_process(CARRIER, carrier.pid, carrier.lag))
    states: Counter[str] = Counter()
    for slot in slots:
        states["dead"] += slot.worker is None and not slot.retired
        for worker in slot.workers():
            states[worker.state.value] += 1
            vitals = read_vitals(worker.shown, now)
            in_progress += vitals.in_progress
            connections += vitals.connections
            if worker is slot.worker:  # one process per label value
                shown_lag = vitals.lag if worker.state is WorkerState.READY else None
                views.append(_process(str(slot.number), worker.pid, shown_lag))
    return ServerView(views, in_progress, connections, {s.value: states[s.value] for s in WorkerState}, restarts, lag)


def view_of_the_only_process(shown: memoryview[float], now: float) -> ServerView:
    """Return the process metrics of a process without a supervisor."""
    from tiny_listener_metrics import ServerView  # noqa: PLC0415 - only where there are metrics

    vitals = read_vitals(shown, now)
    return ServerView([_process("0", os.getpid(), vitals.lag)], vitals.in_progress, vitals.connections)


def published_view(view: View | None, restarts: int | None = None) -> PublishedView | None:
    """Return the metrics of published events; None: no carrier was needed.

    :param view: the last view of the carrier
    :param restarts: number of carriers that were replaced; None: there is no process of it
    """
    from tiny_listener_metrics import PublishedView  # noqa: PLC0415 - only where there are metrics

    return None if view is None and restarts is None else PublishedView(view, restarts)


def _process(name: str, pid: int, lag: float | None) -> ProcessView:
    from tiny_listener_metrics import ProcessView  # noqa: PLC0415 - only where there are metrics

    numbers = process_numbers(pid)
    if numbers is None:
        return ProcessView(name, lag)
    cpu, resident, virtual, started, open_fds, max_fds = numbers
    return ProcessView(name, lag, cpu, resident, virtual, started, open_fds, max_fds)
