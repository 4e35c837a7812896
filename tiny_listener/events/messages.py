"""Messages between a worker and the carrier. Many of them travel in one frame, as a list.

A worker sends `Hello` first. The carrier confirms what it was sent after the transaction that stored it.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from .envelope import Envelope
from .policy import Reason, RouteTerms

__all__ = [
    "Cancel",
    "Confirm",
    "Deliver",
    "Done",
    "Draining",
    "Failed",
    "FromCarrier",
    "Held",
    "Hello",
    "Publish",
    "Refuse",
    "Result",
    "Returned",
    "Settled",
    "ToCarrier",
    "Unroutable",
    "Welcome",
]


class Held(msgspec.Struct, array_like=True):
    """An event that a worker has in flight while it registers again.

    :ivar attempt: the number of this attempt
    :ivar envelope: of an event that was settled before its handler began, which no store has; its key waits for it
    """

    seq: int
    attempt: int
    envelope: Envelope | None = None


class Hello(msgspec.Struct, tag="hello", array_like=True):
    """Worker: here I am.

    :ivar store_id: of the store that `holds` refers to; None: never connected
    :ivar window: the most events to have in flight
    :ivar terms: those of its routes, by pattern; None: it publishes only, and takes no events
    :ivar holds: events in flight, and those whose settling is not confirmed
    """

    slot: int
    pid: int
    window: int
    terms: dict[str, RouteTerms] | None
    store_id: str | None = None
    holds: list[Held] = []


class Publish(msgspec.Struct, tag="pub", array_like=True, gc=False):
    """Worker: store this event.

    :ivar n: the worker's number for it, rising
    :ivar wait: seconds that it may wait for room
    :ivar wants_result: whether the worker waits for a `Result`
    """

    n: int
    envelope: Envelope
    wait: float
    wants_result: bool = False


class Done(msgspec.Struct, tag="done", array_like=True, gc=False):
    """Worker: an event was handled.

    :ivar result: for the request that waits for it, as JSON; None: nobody waits
    """

    seq: int
    result: bytes | None = None


class Failed(msgspec.Struct, tag="failed", array_like=True):
    """Worker: an attempt failed.

    :ivar outcome: of the attempt, for metrics
    :ivar error: the class of the exception
    :ivar wait: seconds until the next attempt; None: it is given up
    :ivar reason: why it is given up
    :ivar passing: whether later events of its key may pass while it waits
    """

    seq: int
    outcome: str
    error: str
    text: str
    wait: float | None = None
    reason: Reason = "attempts"
    passing: bool = False


class Returned(msgspec.Struct, tag="back", array_like=True):
    """Worker: events end unsettled because this worker drains. No attempt is counted."""

    seqs: list[int]


class Unroutable(msgspec.Struct, tag="noroute", array_like=True):
    """Worker: no route of mine matches this event."""

    seq: int


class Draining(msgspec.Struct, tag="drain", array_like=True):
    """Worker: send me nothing more to handle. I still publish and settle."""


class Welcome(msgspec.Struct, tag="welcome", array_like=True):
    """Carrier: you are registered.

    :ivar store_id: another one than the worker knows: what it holds and has not settled is unknown here
    :ivar max_event: bytes of the largest event
    """

    store_id: str
    max_event: int


class Confirm(msgspec.Struct, tag="stored", array_like=True):
    """Carrier: these events are stored.

    :ivar ns: the worker's numbers for them
    :ivar duplicate: whether they had been stored before
    """

    ns: list[int]
    duplicate: bool = False


class Refuse(msgspec.Struct, tag="refused", array_like=True):
    """Carrier: this event is not stored.

    :ivar kind: `overloaded`, `too large` or `failed`
    """

    n: int
    kind: str
    text: str


class Deliver(msgspec.Struct, tag="event", array_like=True, gc=False):
    """Carrier: handle this event now.

    :ivar attempt: from 1
    :ivar redelivered: whether it may have been started before
    :ivar wants_result: whether a request waits for its result
    :ivar is_acked: whether it is settled by now: at most once
    """

    seq: int
    attempt: int
    redelivered: bool
    envelope: Envelope
    wants_result: bool = False
    is_acked: bool = False


class Cancel(msgspec.Struct, tag="cancel", array_like=True):
    """Carrier: another server has this event by now. Stop it, and say nothing of it."""

    seq: int


class Settled(msgspec.Struct, tag="settled", array_like=True):
    """Carrier: this many of your `Done`, `Failed` and `Unroutable` are stored, in their order."""

    count: int


class Result(msgspec.Struct, tag="result", array_like=True):
    """Carrier: a request has its answer.

    :ivar n: that of its `Publish`
    :ivar data: JSON; None: it failed for good, see `error`
    """

    n: int
    data: bytes | None
    error: tuple[str, str] | None = None


ToCarrier: TypeAlias = Hello | Publish | Done | Failed | Returned | Unroutable | Draining
FromCarrier: TypeAlias = Welcome | Confirm | Refuse | Deliver | Cancel | Settled | Result
