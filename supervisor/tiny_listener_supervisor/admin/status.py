"""The status of a server at one instant: its slots and their processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import msgspec

from tiny_listener.events.questions import View

from ..fleet.reload_status import ReloadStatus
from ..fleet.slot import Slot, Worker, WorkerState
from ..system.proc import cpu_seconds, resident_bytes
from ..worker.heartbeat import read_vitals

__all__ = ["CarrierStatus", "ProcessStatus", "Status", "of_the_only_process", "processes", "state_in_a_word"]


class ProcessStatus(msgspec.Struct, frozen=True):
    """A process in a slot, or a slot without a worker.

    :ivar slot: its number
    :ivar state: starting, ready, draining; for a slot without a worker: dead, or retired
    :ivar pid: None without a worker, as are `age` and `version`
    :ivar age: seconds since the fork
    :ivar version: number of reloads requested by then
    :ivar restarts: number of workers of the slot that died and were replaced
    :ivar rss: bytes of resident memory
    :ivar accept_queue: connections that wait at the slot's own sockets; None if it has none, and for all processes of
        the slot except its worker
    :ivar events: events that the process has dispatched; None without metrics
    :ivar last_exit: how the last process of the slot ended; None: none has ended yet
    :ivar cpu: seconds of processor time that the process has used; None if the kernel does not tell
    :ivar lag: the longest delay of its event loop in the last 15 to 30 seconds, in seconds, or for how long it is
        blocked now; None unless it is ready
    """

    slot: int
    state: str
    pid: int | None = None
    age: float | None = None
    version: int | None = None
    restarts: int = 0
    rss: int = 0
    accept_queue: int | None = None
    events: int | None = None
    last_exit: str | None = None
    cpu: float | None = None
    lag: float | None = None


class CarrierStatus(msgspec.Struct, frozen=True):
    """The carrier of published events.

    :ivar state: starting, ready, stopping, dead
    :ivar pid: None while it is dead, as are `age`, `cpu` and `lag`
    :ivar age: seconds since the fork
    :ivar restarts: number of carriers that died and were replaced
    :ivar rss: bytes of resident memory
    :ivar last_exit: how the last one ended, or why it could not start; None: none has ended yet
    :ivar cpu: as `ProcessStatus.cpu`
    :ivar lag: as `ProcessStatus.lag`
    """

    state: str
    pid: int | None = None
    age: float | None = None
    restarts: int = 0
    rss: int = 0
    last_exit: str | None = None
    cpu: float | None = None
    lag: float | None = None


class Status(msgspec.Struct, frozen=True, tag=True):
    """A server.

    :ivar pid: of the supervisor, or of the single process
    :ivar state: starting, ready, degraded (some slot has no ready worker), stopping
    :ivar age: seconds since it started
    :ivar version: number of reloads requested
    :ivar workers: configured number of workers
    :ivar addresses: the addresses that clients connect to
    :ivar shared_queue: connections that wait at sockets with one queue for all workers, such as unix sockets; None if
        there are none
    :ivar reload: the last one; None before the first
    :ivar processes: by slot
    :ivar carrier: the process that stores published events; None: none was needed
    :ivar events: its view of them, the last one while it is down; None: there is none
    """

    pid: int
    state: str
    age: float
    version: int
    workers: int
    addresses: list[str]
    shared_queue: int | None
    reload: ReloadStatus | None
    processes: list[ProcessStatus]
    carrier: CarrierStatus | None = None
    events: View | None = None


def processes(slots: Sequence[Slot], queues: Mapping[str, int], now: float) -> list[ProcessStatus]:
    """Return the processes of all slots: in each, first the worker, then the successor, then those that drain.

    :param queues: accept queue depth of each slot; see `SocketBroker.queues`
    :param now: on the clock of the workers' start times
    """
    found = []
    for slot in slots:
        queue = queues.get(str(slot.number))
        if slot.worker is None:
            state = "retired" if slot.retired else "dead"
            found.append(
                ProcessStatus(slot.number, state, restarts=slot.restarts, accept_queue=queue, last_exit=slot.last_exit)
            )
        for worker in slot.workers():
            found.append(_process(slot, worker, now, queue if worker is slot.worker else None))  # noqa: PERF401
    return found


def _process(slot: Slot, worker: Worker, now: float, queue: int | None) -> ProcessStatus:
    return ProcessStatus(
        slot.number,
        worker.state.value,
        worker.pid,
        round(max(0.0, now - worker.started), 3),
        worker.version,
        slot.restarts,
        resident_bytes(worker.pid),
        queue,
        worker.row.events() if worker.row is not None else None,
        slot.last_exit,
        cpu_seconds(worker.pid),
        round(read_vitals(worker.shown, now).lag, 6) if worker.state is WorkerState.READY else None,
    )


def state_in_a_word(*, ready: bool, was_ready: bool, stopping: bool) -> str:
    """Return the state of a server."""
    if stopping:
        return "stopping"
    return "ready" if ready else "degraded" if was_ready else "starting"


def of_the_only_process(
    state: str,
    age: float,
    addresses: list[str],
    queue: int | None,
    dispatched: int | None,
    *,
    lag: float,
    events: View | None = None,
) -> Status:
    """Return the status of a server that is a single process.

    :param dispatched: events that it has dispatched
    :param lag: as `ProcessStatus.lag`, in seconds
    :param events: the view of the carrier in it
    """
    pid = os.getpid()
    worker = "ready" if state == "ready" else "draining" if state == "stopping" else "starting"
    shown_lag = round(lag, 6) if worker == "ready" else None
    process = ProcessStatus(
        0, worker, pid, age, 0, 0, resident_bytes(pid), queue, dispatched, None, cpu_seconds(pid), shown_lag
    )
    return Status(pid, state, age, 0, 1, addresses, None, None, [process], events=events)
