"""The workers that events are delivered to, and which of them owns which keys."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Final

from ..life import Entry
from ..policy import RouteTerms
from ..settings import Limits
from .lanes import Lane

__all__ = ["Member", "Owners"]


class Member:
    """A worker that is connected and has registered.

    :param number: of its link; never used twice by one carrier
    :param slot: a successor has the same slot
    :param window: the most events to have in flight
    :param terms: those of its routes, by pattern; None: it takes no events
    :ivar ready: lanes of the keys that it owns, which may start something
    :ivar parked: lanes whose next event is of a route with as many events in flight as it may have, by that route
    :ivar limits: the most events in flight by route, where there is a limit
    :ivar acks_before: the routes whose events are settled before their handlers run
    :ivar by_route: events in flight by route, where there is a limit
    :ivar claims: the attempts of events that it has in flight, as it says, and that are not known here: they are
        settled, or yet to come from a stream
    :ivar early: what it said of these
    :ivar alone: the suspect of a crash in flight, beside which nothing starts for the time being
    :ivar suspect: the lane, or the event without a key, whose suspect waits until nothing is in flight here
    :ivar is_pressing: whether it has waited long enough, and starts beside what is in flight
    :ivar until: when either has lasted long enough, in seconds since 1970; None: neither is the case
    """

    def __init__(self, number: int, slot: int, window: int, terms: dict[str, RouteTerms] | None) -> None:
        self.number: Final = number
        self.slot: Final = slot
        self.window: Final = window
        self.terms: Final = terms
        self.in_flight: dict[int, Entry] = {}
        self.ready: deque[Lane] = deque()
        self.parked: dict[str, deque[Lane]] = {}
        routes = {} if terms is None else terms
        self.limits: Final = {route: one.concurrency for route, one in routes.items() if one.concurrency is not None}
        self.acks_before: Final = frozenset(route for route, one in routes.items() if one.ack_before)
        self.by_route: dict[str, int] = {}
        self.is_draining = terms is None
        self.alone: Entry | None = None
        self.suspect: Lane | Entry | None = None
        self.claims: Final[dict[int, int]] = {}
        self.early: Final[dict[int, object]] = {}
        self.is_pressing = False
        self.until: float | None = None

    def halts(self, route: str) -> bool:
        """Whether a key waits for an operator when one of its events of this route is given up."""
        return self.terms is not None and (terms := self.terms.get(route)) is not None and terms.halt

    @property
    def has_room(self) -> bool:
        """Whether something may start here."""
        return not (self.is_draining or self.alone) and len(self.in_flight) < self.window

    def watch(self, now: float, limits: Limits) -> None:
        """Let nobody wait for a suspect for longer than the limits: neither before it starts, nor while it runs."""
        if self.alone is None and self.suspect is None:
            self.until = None
            self.is_pressing = False
        elif self.until is None:
            self.until = now + (limits.alone_after if self.alone is None else limits.alone_for)

    def stop_waiting(self) -> None:
        """What `watch` watches has lasted long enough."""
        self.until = None
        if self.alone is not None:
            self.alone = None
        else:
            self.is_pressing = True

    def is_full_of(self, route: str) -> bool:
        """Whether a route has as many events in flight here as it may have."""
        most = self.limits.get(route)
        return most is not None and self.by_route.get(route, 0) >= most


class Owners:
    """Which slot owns the keys of each partition: by rendezvous hashing, so that a slot that comes or goes moves the
    keys of its own share only.

    :param partitions: the number of partitions
    :ivar by_partition: the slot that owns the keys of each; None: there is no slot
    """

    def __init__(self, partitions: int) -> None:
        self._slots: frozenset[int] = frozenset()
        self.by_partition: list[int | None] = [None] * partitions

    def change(self, slots: Iterable[int]) -> bool:
        """Take note of the slots there are. Return whether keys move."""
        wanted = frozenset(slots)
        if wanted == self._slots:
            return False
        self._slots = wanted
        for partition in range(len(self.by_partition)):
            self.by_partition[partition] = max(wanted, key=partial(_weight, partition), default=None)
        return True


def _weight(partition: int, slot: int) -> bytes:
    return hashlib.blake2b(b"%d %d" % (slot, partition), digest_size=8).digest()
