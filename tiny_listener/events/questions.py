"""What an operator asks the carrier, and what it answers: for tiny-listenerctl, the status page and Prometheus."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from .counters import RouteCounters
from .envelope import Envelope
from .policy import Reason

__all__ = [
    "Answer",
    "AskDead",
    "AskDiscard",
    "AskHalted",
    "AskPublish",
    "AskRedrive",
    "AskSkip",
    "AskView",
    "DeadLetters",
    "DeadRow",
    "Halted",
    "HaltedKey",
    "Number",
    "Question",
    "RouteView",
    "Stored",
    "View",
    "Wrong",
]


class AskView(msgspec.Struct, tag="view"):
    """How many events wait, and so on. Answer: `View`."""


class AskDead(msgspec.Struct, tag="dead"):
    """Dead letters in the order in which they came. Answer: `DeadLetters`.

    :ivar reason: only those with this reason
    :ivar id: only those of this event
    :ivar after: only those with a larger number
    :ivar limit: how many at most
    """

    reason: str | None = None
    id: str | None = None
    after: int = 0
    limit: int = 100


class AskRedrive(msgspec.Struct, tag="redrive"):
    """Put dead letters back among the events, at the end of their keys. Answer: `Number`, how many will be put back.

    :ivar rate: events in a second; None: all at once
    """

    reason: str | None = None
    id: str | None = None
    rate: float | None = None


class AskDiscard(msgspec.Struct, tag="discard"):
    """Delete the dead letter of an event. Answer: `Number`; `Wrong` if there is none."""

    id: str


class AskHalted(msgspec.Struct, tag="halted"):
    """The keys that wait for an operator. Answer: `Halted`."""


class AskSkip(msgspec.Struct, tag="skip"):
    """Let a halted key go on without the event that halted it. Answer: `Number`; `Wrong` if the key is not halted."""

    key: str


class AskPublish(msgspec.Struct, tag="publish"):
    """Store an event. Answer: `Stored`; `Wrong` if it is refused."""

    envelope: Envelope


class RouteView(msgspec.Struct):
    """The events of one route.

    :ivar route: the pattern
    :ivar counters: since the store was created
    """

    route: str
    counters: RouteCounters


class View(msgspec.Struct, tag="view"):
    """The state of the carrier.

    :ivar waiting: events that wait for their turn, delayed ones and retries included
    :ivar delayed: of these, published for later
    :ivar retries: of these, waiting for their next attempt
    :ivar in_flight: by slot
    :ivar oldest: seconds since the oldest event that is not delayed was published; None: there is none
    :ivar dead: the dead letters that are kept, by reason
    :ivar halted: the number of halted keys
    :ivar store: `sqlite:DIR`, `memory` or `nats:APP`
    :ivar store_bytes: its size
    :ivar failure: why the store cannot write by now, such as a full disk; None: it can
    :ivar commits: transactions since the carrier was started
    :ivar commit_seconds: the time that they took
    :ivar partitions: of the keys, those that this server owns; None: it shares the store with no other server
    """

    waiting: int = 0
    delayed: int = 0
    retries: int = 0
    in_flight: dict[int, int] = {}
    oldest: float | None = None
    dead: dict[str, int] = {}
    halted: int = 0
    store: str = ""
    store_bytes: int = 0
    failure: str | None = None
    routes: list[RouteView] = []
    commits: int = 0
    commit_seconds: float = 0.0
    partitions: int | None = None


class DeadRow(msgspec.Struct):
    """A dead letter.

    :ivar data: the payload: JSON, or text, or base64 where it is neither
    :ivar first_started: seconds since 1970
    :ivar died_at: seconds since 1970
    """

    number: int
    id: str
    path: str
    route: str
    key: str | None
    reason: Reason
    error: str
    text: str
    attempts: int
    crashes: int
    published_at: float
    first_started: float | None
    died_at: float
    slot: int | None
    data: str
    attributes: dict[str, str] = {}


class DeadLetters(msgspec.Struct, tag="dead"):
    """Some dead letters.

    :ivar more: whether there are more after the last
    """

    rows: list[DeadRow]
    more: bool = False


class HaltedKey(msgspec.Struct):
    """A key that waits for an operator.

    :ivar id: the event that halted it; empty: its letter was dropped, and only `AskSkip` lets the key go on
    :ivar waiting: the events behind it
    """

    key: str
    id: str
    waiting: int


class Halted(msgspec.Struct, tag="halted"):
    """The halted keys."""

    keys: list[HaltedKey]


class Number(msgspec.Struct, tag="number"):
    """How many were concerned.

    :ivar is_done: whether it has happened; False: it will, as soon as there is room and time
    """

    number: int
    is_done: bool = True


class Stored(msgspec.Struct, tag="stored"):
    """An event is stored."""

    id: str
    duplicate: bool


class Wrong(msgspec.Struct, tag="wrong"):
    """The question cannot be answered; why, in one line."""

    text: str


Question: TypeAlias = AskView | AskDead | AskRedrive | AskDiscard | AskHalted | AskSkip | AskPublish
Answer: TypeAlias = View | DeadLetters | Number | Halted | Stored | Wrong
