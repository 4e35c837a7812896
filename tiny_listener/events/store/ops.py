"""What the engine tells the store to write, and what the store tells the engine when it starts.

All operations of one turn of the carrier are one transaction.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec

from ..envelope import Envelope
from ..policy import Reason

__all__ = [
    "Contents",
    "Count",
    "DeadLetter",
    "Delete",
    "DropDead",
    "Insert",
    "Op",
    "SetHalted",
    "Start",
    "Store",
    "StoreFailed",
    "StoredEvent",
    "ToDead",
    "Update",
]


class StoredEvent(msgspec.Struct, gc=False):
    """An unsettled event, as the store has it.

    :ivar seq: its place in the order of storage; never used twice in one store
    :ivar attempts: how often it was started, crashes included
    :ivar crashes: how often a worker died while this event was in flight alone
    :ivar suspect: whether a worker died with it in flight; it then runs alone
    :ivar due: seconds since 1970 before which it is not started
    :ivar error: class and text of its last failure
    :ivar first_started: seconds since 1970; None: never started
    :ivar is_started: whether it was in flight when the store was last written
    """

    seq: int
    envelope: Envelope
    attempts: int = 0
    crashes: int = 0
    suspect: bool = False
    due: float | None = None
    error: tuple[str, str] | None = None
    first_started: float | None = None
    is_started: bool = False


class DeadLetter(msgspec.Struct, kw_only=True):
    """An event that was given up.

    :ivar number: of this letter, in the order in which they came
    :ivar seq: the place that the event had in the order of storage
    :ivar error: class and text of its last failure
    :ivar first_started: seconds since 1970; None: never started
    :ivar died_at: seconds since 1970
    :ivar slot: the worker that had it last; None: none had it
    """

    number: int
    seq: int
    envelope: Envelope
    reason: Reason
    error: tuple[str, str]
    attempts: int
    crashes: int
    first_started: float | None
    died_at: float
    slot: int | None


class Insert(msgspec.Struct, frozen=True, gc=False):
    """A new event, and its id, so that a second event with this id is recognised as a duplicate.

    :ivar is_new: whether a publisher can be refused; False: the event was stored before, under another number or as a
        dead letter, and must be stored even if the disk is full
    """

    seq: int
    envelope: Envelope
    at: float
    is_new: bool = True


class Start(msgspec.Struct, frozen=True):
    """These events are started: one attempt more for each.

    :ivar at: seconds since 1970
    """

    seqs: list[int]
    at: float


class Update(msgspec.Struct, frozen=True):
    """An event changed, and is not in flight any more. The fields are those of `StoredEvent`."""

    seq: int
    attempts: int
    crashes: int
    suspect: bool
    due: float | None
    error: tuple[str, str] | None
    first_started: float | None


class Delete(msgspec.Struct, frozen=True, gc=False):
    """An event is settled."""

    seq: int


class ToDead(msgspec.Struct, frozen=True):
    """An event is given up. It is deleted, if it is still stored, and its letter is kept.

    :ivar seq: the event's; None: it was deleted before
    """

    seq: int | None
    letter: DeadLetter


class DropDead(msgspec.Struct, frozen=True):
    """A dead letter is discarded, or put back among the events."""

    number: int


class SetHalted(msgspec.Struct, frozen=True):
    """A key waits for an operator, or goes on.

    :ivar number: the dead letter that it waits for; None: it goes on
    """

    key: str
    number: int | None


class Count(msgspec.Struct, frozen=True):
    """The counters of a route have new values: whole values, not differences.

    :ivar values: encoded; what they mean is the engine's business
    """

    route: str
    values: bytes


Op: TypeAlias = Insert | Start | Update | Delete | ToDead | DropDead | SetHalted | Count


class Contents(msgspec.Struct):
    """All that a store has, when it is opened.

    :ivar events: in the order of storage
    :ivar next_seq: above every number that was ever used
    :ivar seen: ids within the dedup window, with the time when they were stored, oldest first
    :ivar halted: the number of the dead letter that a key waits for, by key
    :ivar dead: the number of dead letters by reason
    :ivar next_dead: above every number of a dead letter
    :ivar counts: the values of the last `Count`, by route
    :ivar max_dead: how many dead letters it has room for, none of which it has yet; None: it keeps all
    """

    events: list[StoredEvent] = []
    next_seq: int = 1
    seen: list[tuple[str, float]] = []
    halted: dict[str, int] = {}
    dead: dict[str, int] = {}
    next_dead: int = 1
    counts: dict[str, bytes] = {}
    max_dead: int | None = None


class StoreFailed(Exception):  # noqa: N818 - what became of a commit
    """A commit failed, and nothing of it was written. The text is one line, such as `the disk is full`."""


class Store(Protocol):
    """A store. One process has it open, and calls it from one thread at a time."""

    id: str
    """Made when the store was created: workers that reconnect tell by it whether it is the same."""

    def load(self, now: float, dedup_window: float) -> Contents:
        """Return all that is stored, and delete ids older than the window.

        :raises CarrierError: it cannot be read
        """

    def commit(self, ops: list[Op]) -> None:
        """Write operations in one transaction: all of them or none.

        :raises StoreFailed: none was written, and why
        """

    def dead_letters(
        self,
        *,
        reason: str | None = None,
        after: int = 0,
        limit: int = 100,
        id: str | None = None,  # noqa: A002
    ) -> list[DeadLetter]:
        """Return dead letters in the order in which they came.

        :param reason: only those with this reason
        :param after: only those with a larger number
        :param limit: how many at most
        :param id: only those of this event
        """

    def size(self, unsettled: int) -> int:
        """Return the bytes that it takes on the disk, or in memory.

        :param unsettled: bytes of the unsettled events in memory
        """

    def tidy(self, now: float) -> None:
        """Do what can wait until little else happens: checkpoints, old ids."""

    def close(self) -> None:
        """Close it."""
