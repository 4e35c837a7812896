"""The life of a slot's worker, as a table.

starting ──ready──> ready ──stop──> draining ──exit──> dead
   │ └──────────stop──────────────────^                 ^
   └──exit──────────────── ready ──exit─────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiny_listener_metrics import Row

    from .channel import Channel
    from .messages import FromWorker, ToWorker

__all__ = ["IllegalStep", "Slot", "State", "Worker"]


class State(Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DEAD = "dead"


STEPS: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.READY, State.DRAINING, State.DEAD}),
    State.READY: frozenset({State.DRAINING, State.DEAD}),
    State.DRAINING: frozenset({State.DEAD}),
    State.DEAD: frozenset(),
}


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
    :ivar started: when, on the loop's clock
    """

    process: Any
    channel: Channel[FromWorker, ToWorker]
    row: Row | None
    started: float
    state: State = State.STARTING

    def step(self, new: State) -> None:
        """Go on to a state.

        :raises IllegalStep: it cannot follow on the present one
        """
        if new not in STEPS[self.state]:
            raise IllegalStep(self.state, new)
        self.state = new


@dataclass(slots=True, eq=False)
class Slot:
    """A place for a worker: it outlives them, with its number and its sockets."""

    number: int
    worker: Worker | None = None
    failures: int = 0
    """Workers in a row that died before they had lived for long."""
