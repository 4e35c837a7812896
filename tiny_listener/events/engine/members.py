"""The workers that events are delivered to, and which of them owns which keys."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from ..envelope import partition_of
from ..life import Entry
from ..policy import RouteTerms
from .lanes import Lane

__all__ = ["NO_TERMS", "Member", "Owners"]

NO_TERMS: Final = RouteTerms()


class Member:
    """A worker that is connected and has registered.

    :param number: of its link; never used twice by one carrier
    :param slot: a successor has the same slot
    :param window: the most events to have in flight
    :param terms: those of its routes, by pattern; None: it takes no events
    :ivar ready: lanes of the keys that it owns, which may start something
    :ivar parked: lanes whose next event is of a route with as many events in flight as it may have, by that route
    :ivar by_route: events in flight by route
    :ivar is_alone: whether the one event in flight is a suspect of a crash, beside which nothing starts
    :ivar suspect: the lane, or the event without a key, whose suspect waits until nothing is in flight here
    """

    def __init__(self, number: int, slot: int, window: int, terms: dict[str, RouteTerms] | None) -> None:
        self.number: Final = number
        self.slot: Final = slot
        self.window: Final = window
        self.terms: Final = terms
        self.in_flight: dict[int, Entry] = {}
        self.ready: deque[Lane] = deque()
        self.parked: dict[str, deque[Lane]] = {}
        self.by_route: Counter[str] = Counter()
        self.is_draining = terms is None
        self.is_alone = False
        self.suspect: Lane | Entry | None = None

    def terms_of(self, route: str) -> RouteTerms:
        """Return the terms of a route, those of a route without options if this worker does not know it."""
        return NO_TERMS if self.terms is None else self.terms.get(route, NO_TERMS)

    @property
    def has_room(self) -> bool:
        """Whether something may start here."""
        return not (self.is_draining or self.is_alone) and len(self.in_flight) < self.window

    def is_full_of(self, route: str) -> bool:
        """Whether a route has as many events in flight here as it may have."""
        most = self.terms_of(route).concurrency
        return most is not None and self.by_route[route] >= most


class Owners:
    """Which slot owns the keys of each partition: by rendezvous hashing, so that a slot that comes or goes moves the
    keys of its own share only.

    :param partitions: the number of partitions
    """

    def __init__(self, partitions: int) -> None:
        self._partitions: Final = partitions
        self._slots: frozenset[int] = frozenset()
        self._owners: list[int] = []

    def change(self, slots: Iterable[int]) -> bool:
        """Take note of the slots there are. Return whether keys move."""
        wanted = frozenset(slots)
        if wanted == self._slots:
            return False
        self._slots = wanted
        self._owners = [max(wanted, key=lambda s: _weight(s, p)) for p in range(self._partitions)] if wanted else []
        return True

    def of(self, key: str) -> int | None:
        """Return the slot that owns a key; None: there is no slot."""
        return self._owners[partition_of(key, self._partitions)] if self._owners else None


def _weight(slot: int, partition: int) -> bytes:
    return hashlib.blake2b(b"%d %d" % (slot, partition), digest_size=8).digest()
