"""The life of a published event, as a table of states. Pure."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .envelope import Envelope

__all__ = ["STEPS", "Entry", "IllegalStep", "State"]


class State(Enum):
    """Where an unsettled event is, and how it ends."""

    DELAYED = "published for later"
    WAITING = "waiting for its turn"
    IN_FLIGHT = "in flight at a worker"
    RETRYING = "waiting for its next attempt"
    SETTLED = "handled, or expired"
    DEAD = "given up"


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


class IllegalStep(Exception):  # noqa: N818 - as in the other tables
    """The engine tried a step that the table does not have: a bug."""


class Entry:
    """An unsettled event in the engine's memory. `store.ops.StoredEvent` explains the fields that are stored.

    :ivar slot: the worker that has it in flight, or had it last
    :ivar member: the number of that worker's link, while it is in flight
    :ivar reply_to: the link and number of the request that waits for its result
    :ivar timer: number of its timer, to tell it from earlier ones; 0: none
    :ivar unroutable_since: when a worker first had no route for it
    :ivar passing: whether later events of its key may pass while it waits for a retry
    :ivar is_acked: whether it was settled in the store before its handler ran
    """

    __slots__ = (
        "attempts",
        "crashes",
        "due",
        "envelope",
        "error",
        "first_started",
        "is_acked",
        "member",
        "passing",
        "reply_to",
        "seq",
        "slot",
        "state",
        "suspect",
        "timer",
        "unroutable_since",
    )

    def __init__(self, seq: int, envelope: Envelope, state: State = State.WAITING) -> None:
        self.seq = seq
        self.envelope = envelope
        self.state = state
        self.attempts = 0
        self.crashes = 0
        self.suspect = False
        self.due: float | None = envelope.due
        self.error: tuple[str, str] | None = None
        self.first_started: float | None = None
        self.slot: int | None = None
        self.member: int | None = None
        self.reply_to: tuple[int, int] | None = None
        self.timer = 0
        self.unroutable_since: float | None = None
        self.passing = False
        self.is_acked = False

    @property
    def affinity(self) -> str | None:
        """Events with the same affinity are handled by the same worker; None: any may handle it."""
        envelope = self.envelope
        return envelope.cid if envelope.key is None else envelope.key

    @property
    def is_serial(self) -> bool:
        """Whether it is handled in the order of its key, one at a time."""
        return self.envelope.key is not None and self.envelope.serial

    def step(self, state: State) -> None:
        """Go to another state.

        :raises IllegalStep: the table does not have this step
        """
        if state not in STEPS[self.state]:
            raise IllegalStep(f"event {self.seq}: {self.state.name} -> {state.name}")
        self.state = state

    def __repr__(self) -> str:
        return f"Entry({self.seq}, {self.envelope.path!r}, {self.state.name}, key={self.envelope.key!r})"
