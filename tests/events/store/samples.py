"""Events, letters and operations to store."""

from __future__ import annotations

from typing import Any

from tiny_listener.events.envelope import Envelope
from tiny_listener.events.policy import Reason
from tiny_listener.events.store.ops import Contents, DeadLetter, Insert, Store, StoredEvent, ToDead, Update

NOW = 1_800_000_000.0
WINDOW = 120.0


def envelope(number: int, *, data: bytes = b'{"n":1}', **more: Any) -> Envelope:
    return Envelope(
        id=f"id-{number}",
        path=f"/orders/{number}",
        route="/orders/{order}",
        data=data,
        is_json=True,
        published_at=NOW,
        attributes={"traceparent": "00-1"},
        params={"order": str(number)},
        **more,
    )


def insert(seq: int, *, at: float = NOW, **more: Any) -> Insert:
    return Insert(seq, envelope(seq, **more), at)


def letter(number: int, *, seq: int = 1, reason: Reason = "attempts") -> DeadLetter:
    return DeadLetter(
        number=number,
        seq=seq,
        envelope=envelope(seq),
        reason=reason,
        error=("ValueError", "no"),
        attempts=5,
        crashes=0,
        first_started=NOW,
        died_at=NOW + 1,
        slot=2,
    )


def to_dead(number: int, seq: int | None, *, reason: Reason = "attempts") -> ToDead:
    return ToDead(seq, letter(number, seq=seq or 1, reason=reason))


def update(seq: int, *, attempts: int = 1, first_started: float | None = NOW) -> Update:
    return Update(
        seq,
        attempts=attempts,
        crashes=1,
        suspect=True,
        due=NOW + 9,
        error=("KeyError", "'x'"),
        first_started=first_started,
    )


def contents(store: Store, *, now: float = NOW) -> Contents:
    return store.load(now, WINDOW)


def seqs(store: Store) -> list[int]:
    return [event.seq for event in contents(store).events]


def event(store: Store, seq: int) -> StoredEvent:
    (found,) = [one for one in contents(store).events if one.seq == seq]
    return found
