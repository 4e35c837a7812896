"""The life of a published event, as a table of states. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from .counters import RouteCounters
    from .engine.lanes import Lane
    from .envelope import Envelope

__all__ = ["STEPS", "Entry", "IllegalStep", "State"]


class State(IntEnum):
    """Where an unsettled event is, and how it ends."""

    DELAYED = 0
    """Published for later."""
    WAITING = 1
    """Waits for its turn."""
    IN_FLIGHT = 2
    """At a worker."""
    RETRYING = 3
    """Waits for its next attempt."""
    SETTLED = 4
    """Handled, or expired."""
    DEAD = 5
    """Given up."""


STEPS: Final[dict[State, frozenset[State]]] = {
    State.DELAYED: frozenset({State.WAITING}),
    State.WAITING: frozenset({State.IN_FLIGHT, State.SETTLED}),
    # Back to waiting: its worker drains, or died. A worker that died three times is the end of it.
    State.IN_FLIGHT: frozenset({State.SETTLED, State.RETRYING, State.WAITING, State.DEAD}),
    State.RETRYING: frozenset({State.WAITING}),
    State.SETTLED: frozenset(),
    State.DEAD: frozenset(),
}
"""The states that may follow each."""


_AFTER: Final = tuple(tuple(STEPS[state]) for state in State)
"""PERF: the same by number, because a step by a dict takes longer."""


class IllegalStep(Exception):  # noqa: N818 - as in the other tables
    """The engine tried a step that the table does not have: a bug."""


class Entry(msgspec.Struct, eq=False):
    """An unsettled event in the engine's memory. `store.ops.StoredEvent` explains the fields that are stored.

    :ivar counters: those of its route
    :ivar size: its bytes, as they count against the limits
    :ivar affinity: events with the same are handled by the same worker; None: any may handle it
    :ivar is_serial: whether it is handled in the order of its key, one at a time
    :ivar lane: the queue of its key
    :ivar slot: the worker that has it in flight, or had it last
    :ivar member: the number of that worker's link, while it is in flight
    :ivar is_request: whether somebody waits for its result, or will
    :ivar reply_to: the link and number of the request that waits for its result
    :ivar timer: number of its timer, to tell it from earlier ones; 0: none
    :ivar unroutable_since: when a worker first had no route for it
    :ivar passing: whether later events of its key may pass while it waits for a retry
    :ivar is_acked: whether it was settled in the store before its handler ran
    """

    seq: int
    envelope: Envelope
    counters: RouteCounters
    size: int
    affinity: str | None
    is_serial: bool
    due: float | None = None
    lane: Lane | None = None
    state: State = State.WAITING
    attempts: int = 0
    crashes: int = 0
    suspect: bool = False
    error: tuple[str, str] | None = None
    first_started: float | None = None
    slot: int | None = None
    member: int | None = None
    is_request: bool = False
    reply_to: tuple[int, int] | None = None
    timer: int = 0
    unroutable_since: float | None = None
    passing: bool = False
    is_acked: bool = False

    def step(self, state: State) -> None:
        """Go to another state.

        :raises IllegalStep: the table does not have this step
        """
        if state not in _AFTER[self.state]:
            raise IllegalStep(f"event {self.seq}: {self.state.name} -> {state.name}")
        self.state = state

    def __repr__(self) -> str:
        return f"Entry({self.seq}, {self.envelope.path!r}, {self.state.name}, key={self.envelope.key!r})"
