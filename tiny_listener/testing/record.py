"""What became of each event in a test."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ..core.publishing.payload import decode_payload
from ..core.registration import NamedEvent
from ..errors import EventDataError
from ..events.messages import Deliver
from ..events.store.ops import Delete, Insert, Op, ToDead, Update

if TYPE_CHECKING:
    from ..events.engine import Effects
    from ..events.envelope import Envelope
    from ..events.policy import Reason

__all__ = ["Dead", "Record", "Tracked", "data_of"]

Outcome: TypeAlias = Literal["waiting", "ok", "expired", "dead"]


@dataclass
class Tracked:
    """An event that was published in a test.

    :ivar path: the text that was published; of a named event the pattern
    :ivar data: decoded, as JSON has it
    :ivar attempts: how often it was started; a drain takes its start back, a crash does not
    :ivar outcome: `waiting` (for its turn, its time or its retry, or in flight), `ok`, `expired` or `dead`
    :ivar is_in_flight: whether its handler runs, or waits for something
    """

    path: str
    id: str
    key: str | None
    data: Any
    attempts: int = 0
    outcome: Outcome = "waiting"
    is_in_flight: bool = False


@dataclass(frozen=True)
class Dead:
    """A dead letter.

    :ivar path: the text that was published; of a named event the pattern
    :ivar reason: `attempts`, `rejected`, `undecodable`, `no route` or `crashed`
    :ivar error: the class of the last exception
    :ivar text: its text
    :ivar attempts: how often it was started
    :ivar data: decoded, as JSON has it
    """

    path: str
    id: str
    key: str | None
    reason: Reason
    error: str
    text: str
    attempts: int
    data: Any


class Record:
    """Follows all events of a test.

    :ivar events: by id, in the order in which they were stored
    """

    def __init__(self) -> None:
        self.events: Final[dict[str, Tracked]] = {}
        self._by_seq: Final[dict[int, Tracked]] = {}

    def follow(self, effects: Effects) -> None:
        """Take note of what was written and sent."""
        sent = chain.from_iterable(effects.sends.values())
        started = {message.seq: message.attempt for message in sent if isinstance(message, Deliver)}
        for op in effects.ops:
            self._apply(op, started)
        for seq, attempt in started.items():
            event = self._by_seq[seq]
            event.attempts, event.is_in_flight = attempt, event.outcome == "waiting"

    def _apply(self, op: Op, started: dict[int, int]) -> None:
        match op:
            case Insert():
                self._by_seq[op.seq] = self._inserted(op.envelope)
            case Update():
                event = self._by_seq[op.seq]
                event.attempts, event.is_in_flight = op.attempts, False
            case Delete():
                event = self._by_seq[op.seq]
                # With `ack="before"` it is settled and started at the same time.
                event.outcome = "ok" if event.is_in_flight or op.seq in started else "expired"
                event.is_in_flight = False
            case ToDead():
                event = self.events[op.letter.envelope.id]
                event.attempts, event.outcome, event.is_in_flight = op.letter.attempts, "dead", False

    def _inserted(self, envelope: Envelope) -> Tracked:
        event = Tracked(envelope.path, envelope.id, envelope.key, data_of(envelope))
        self.events[envelope.id] = event
        return event

    def find(self, wanted: str | NamedEvent) -> list[Tracked]:
        """Return the events with a path or an id; of a named event, those of its pattern."""
        text = wanted.route.path if isinstance(wanted, NamedEvent) else wanted
        by_id = self.events.get(text)
        return [by_id] if by_id is not None else [event for event in self.events.values() if event.path == text]


def data_of(envelope: Envelope) -> Any:
    """Return the data of an event, decoded; as bytes if it is no JSON."""
    try:
        return decode_payload(envelope.data, is_json=envelope.is_json)
    except EventDataError:
        return envelope.data
