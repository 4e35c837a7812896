"""The life of a worker, as a table, and the slot that outlives it; docs/operate/signals.md draws the table."""

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

__all__ = ["IllegalStep", "Slot", "State", "Worker", "about"]


class State(Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DEAD = "dead"


STEPS: dict[State, dict[State, str]] = {
    State.STARTING: {
        State.READY: "it says that it is ready",
        State.DRAINING: "it is told to stop",
        State.DEAD: "it exits",
    },
    State.READY: {
        State.DRAINING: "it is told to stop, or stops by itself",
        State.DEAD: "it exits",
    },
    State.DRAINING: {
        State.DEAD: "it exits",
    },
    State.DEAD: {},
}
"""From a state to those that may follow, and what takes it there."""


class IllegalStep(Exception):  # noqa: N818
    """A step that the table does not have."""

    def __init__(self, old: State, new: State) -> None:
        super().__init__(f"a worker that is {old.value} cannot become {new.value}")


@dataclass(slots=True, eq=False)
class Worker:
    """One process in a slot.

    :ivar process: its handle
    :ivar channel: the supervisor's end of the line to it
    :ivar row: its counters
    :ivar values: those of the application's own metrics
    :ivar shown: shared memory, where it shows how it is (see `pulse`)
    :ivar started: when, on the loop's clock
    :ivar version: how many reloads had been asked for when it was forked
    :ivar ready_since: when it said that it is ready, on the loop's clock
    :ivar due: why it is to have a successor, since it said so itself; it says it once
    :ivar fate: why the supervisor killed it, in words
    :ivar cause: the same in one, of `policy.RESTART_REASONS`
    :ivar stacks: the file descriptor of the memory that it writes its stacks to; -1: none
    :ivar drains: whether it said that it drains, told or not
    :ivar on_probation: whether it is ready and has not lived for long enough to be relied on (see `probation`)
    :ivar timers: what is to be looked at while it lives
    """

    process: Any
    pid: int
    channel: Channel[FromWorker, ToWorker]
    row: Row | None
    shown: memoryview[float]
    started: float
    version: int = 0
    state: State = State.STARTING
    ready_since: float = 0.0
    due: str | None = None
    fate: str | None = None
    cause: str | None = None
    values: ValuesRow | None = None
    stacks: int = -1
    drains: bool = False
    on_probation: bool = False
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def step(self, new: State) -> None:
        """Go on to a state.

        :raises IllegalStep: it cannot follow on the present one
        """
        if new not in STEPS[self.state]:
            raise IllegalStep(self.state, new)
        self.state = new

    def doom(self, cause: str, fate: str) -> None:
        """Note why the supervisor is about to kill it."""
        self.cause, self.fate = cause, fate

    def release(self) -> None:
        """Let go of what was kept for it, which is dead: a timer would hold it, and its memory, until it is due."""
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
    """A place for a worker: it outlives them, with its number and its sockets.

    :ivar worker: the one that serves, or will
    :ivar successor: starts, and is on probation, while `worker` still serves; then it takes its place
    :ivar leaving: drain, because their successor has taken over, or they are no successors any more
    :ivar failures: workers in a row that died before they had lived for long
    :ivar not_before: on the loop's clock; until then its worker gets no successor for its age or memory
    :ivar retired: it is to have no worker; its sockets stay, and a sibling serves them
    :ivar joining: it was added to a server that is ready, which is no less so while this one boots
    :ivar restarts: how often a worker that died was followed by another
    :ivar last_exit: how the last process that ended here did, in words; None while all live
    :ivar restart: when the next worker starts, while there is none
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
        """Whether it has a worker that takes events in."""
        return self.worker is not None and self.worker.state is State.READY

    @property
    def is_empty(self) -> bool:
        """Whether it is to have a worker, and has neither one nor a successor."""
        return not self.retired and self.worker is None and self.successor is None

    def workers(self) -> list[Worker]:
        """Return all processes of the slot."""
        return [w for w in (self.worker, self.successor, *self.leaving) if w is not None]

    def promote(self) -> Worker | None:
        """Let the successor serve; return the worker that leaves, if there still is one."""
        left = self.worker
        self.worker, self.successor = self.successor, None
        if left is not None:
            self.leaving.append(left)
        return left

    def withdraw(self) -> Worker | None:
        """Have no successor any more; return the one that is to leave, if there is one."""
        left, self.successor = self.successor, None
        if left is not None:
            self.leaving.append(left)
        return left

    def part(self) -> None:
        """Let the worker leave though none takes its place yet."""
        if self.worker is not None:
            self.leaving.append(self.worker)
            self.worker = None

    def retire(self) -> list[Worker]:
        """Have no worker any more; return those that are to leave."""
        left = [worker for worker in (self.worker, self.successor) if worker is not None]
        self.leaving += left
        self.worker = self.successor = None
        self.retired, self.joining = True, False
        return left

    def fill(self) -> None:
        """Be a place for a worker, again or for the first time, with a clean record."""
        self.retired, self.joining = False, True
        self.failures, self.not_before = 0, 0.0

    def remove(self, worker: Worker) -> None:
        """Forget a worker that is dead."""
        if worker is self.worker:
            self.worker = None
        elif worker is self.successor:
            self.successor = None
        else:
            self.leaving.remove(worker)


def about(slot: Slot, worker: Worker) -> dict[str, int]:
    """Return the fields of a log line that is about a worker; `--log-format json` shows them."""
    return {"slot": slot.number, "pid": worker.pid}
