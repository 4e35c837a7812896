"""The state table of a worker, and the slot that outlives its workers. docs/operate/signals.md draws the table."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from tiny_listener_metrics import Row, ValuesRow

    from ..ipc.channel import Channel
    from ..ipc.messages import FromWorker, ToWorker

__all__ = ["IllegalWorkerStep", "Slot", "Worker", "WorkerState", "about"]


class WorkerState(Enum):
    """The state of a worker."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DEAD = "dead"


STEPS: dict[WorkerState, dict[WorkerState, str]] = {
    WorkerState.STARTING: {
        WorkerState.READY: "it says that it is ready",
        WorkerState.DRAINING: "it is told to stop",
        WorkerState.DEAD: "it exits",
    },
    WorkerState.READY: {
        WorkerState.DRAINING: "it is told to stop, or stops by itself",
        WorkerState.DEAD: "it exits",
    },
    WorkerState.DRAINING: {
        WorkerState.DEAD: "it exits",
    },
    WorkerState.DEAD: {},
}
"""The allowed transitions, and what causes each."""


class IllegalWorkerStep(Exception):  # noqa: N818
    """A transition that the state table does not allow."""

    def __init__(self, old: WorkerState, new: WorkerState) -> None:
        super().__init__(f"a worker that is {old.value} cannot become {new.value}")


@dataclass(slots=True, eq=False)
class Worker:
    """One process in a slot.

    :ivar process: its handle
    :ivar channel: the supervisor's end of the channel to it
    :ivar row: its counters
    :ivar values: the counters of the application's own metrics
    :ivar shown: shared memory with its vitals (see `worker.heartbeat`)
    :ivar started: when it was forked, on the loop's clock
    :ivar version: number of reloads requested when it was forked
    :ivar ready_since: when it reported ready, on the loop's clock
    :ivar due: why it is to be replaced, since it reported that itself; it reports it once
    :ivar kill_reason: why the supervisor killed it, for the log
    :ivar cause: the same as one of `policy.RESTART_REASONS`
    :ivar stacks: file descriptor of the memory that it writes its stacks to; -1: none
    :ivar drains: whether it reported that it drains, told to or not
    :ivar on_probation: whether it is ready, but has not passed its probation (see `probation`)
    :ivar timers: checks that are scheduled while it lives
    """

    process: Any
    pid: int
    channel: Channel[FromWorker, ToWorker]
    row: Row | None
    shown: memoryview[float]
    started: float
    version: int = 0
    state: WorkerState = WorkerState.STARTING
    ready_since: float = 0.0
    due: str | None = None
    kill_reason: str | None = None
    cause: str | None = None
    values: ValuesRow | None = None
    stacks: int = -1
    drains: bool = False
    on_probation: bool = False
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def step(self, new: WorkerState) -> None:
        """Change the state.

        :raises IllegalWorkerStep: the state table does not allow this transition
        """
        if new not in STEPS[self.state]:
            raise IllegalWorkerStep(self.state, new)
        self.state = new

    def note_kill(self, cause: str, kill_reason: str) -> None:
        """Record why the supervisor is about to kill it."""
        self.cause, self.kill_reason = cause, kill_reason

    def release(self) -> None:
        """Release the resources of a dead worker. A timer would keep the object and its memory alive until it fires."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        self.shown.release()
        if self.stacks >= 0:
            os.close(self.stacks)
            self.stacks = -1
        self.process.close()


@dataclass(slots=True, eq=False)
class Slot:
    """A place for a worker. It keeps its number and its sockets while workers come and go.

    :ivar worker: the worker that serves, or is going to
    :ivar successor: boots, and is on probation, while `worker` still serves; then it replaces `worker`
    :ivar leaving: workers that drain because their successor took over, or successors that were withdrawn
    :ivar failures: number of workers in a row that died young
    :ivar not_before: on the loop's clock; until then the worker is not replaced for its age or memory
    :ivar retired: the slot is meant to have no worker; its sockets stay open, and a sibling serves them
    :ivar joining: the slot was added to a ready server, which stays ready while this slot boots
    :ivar restarts: number of workers that died and were replaced
    :ivar last_exit: how the last process of the slot ended; None: none has ended yet
    :ivar restart: timer for the next worker, while there is none
    """

    number: int
    worker: Worker | None = None
    successor: Worker | None = None
    leaving: list[Worker] = field(default_factory=list)
    failures: int = 0
    not_before: float = 0.0
    retired: bool = False
    joining: bool = False
    restarts: int = 0
    last_exit: str | None = None
    restart: asyncio.TimerHandle | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it has a worker that accepts events."""
        return self.worker is not None and self.worker.state is WorkerState.READY

    @property
    def is_empty(self) -> bool:
        """Whether it is meant to have a worker, but has neither a worker nor a successor."""
        return not self.retired and self.worker is None and self.successor is None

    def workers(self) -> list[Worker]:
        """Return all processes of the slot."""
        return [w for w in (self.worker, self.successor, *self.leaving) if w is not None]

    def promote(self) -> Worker | None:
        """Make the successor the worker. Return the old worker, which is to drain, if there still is one."""
        left = self.worker
        self.worker, self.successor = self.successor, None
        if left is not None:
            self.leaving.append(left)
        return left

    def withdraw(self) -> Worker | None:
        """Remove the successor. Return it if there was one; it is to drain."""
        left, self.successor = self.successor, None
        if left is not None:
            self.leaving.append(left)
        return left

    def vacate(self) -> None:
        """Move the worker to `leaving`, although nothing replaces it yet."""
        if self.worker is not None:
            self.leaving.append(self.worker)
            self.worker = None

    def retire(self) -> list[Worker]:
        """Remove worker and successor for good. Return those that are to drain."""
        left = [worker for worker in (self.worker, self.successor) if worker is not None]
        self.leaving += left
        self.worker = self.successor = None
        self.retired, self.joining = True, False
        return left

    def fill(self) -> None:
        """Make the slot ready for a worker, with a clean record."""
        self.retired, self.joining = False, True
        self.failures, self.not_before = 0, 0.0

    def remove(self, worker: Worker) -> None:
        """Remove a dead worker."""
        if worker is self.worker:
            self.worker = None
        elif worker is self.successor:
            self.successor = None
        else:
            self.leaving.remove(worker)


def about(slot: Slot, worker: Worker) -> dict[str, int]:
    """Return the fields of a log record about a worker; `--log-format json` shows them."""
    return {"slot": slot.number, "pid": worker.pid}
