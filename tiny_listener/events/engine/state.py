"""What the parts of the engine share: the unsettled events, the counters, and what is to be written and sent."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from ..counters import Counters
from ..envelope import Envelope
from ..life import Entry
from ..messages import Confirm, FromCarrier
from ..settings import Limits
from ..store.ops import Contents, Op, Update
from .schedule import Schedule
from .timers import Timers

__all__ = ["EngineState"]


class EngineState:
    """The memory of the engine.

    :param contents: what the store has
    :param limits: those of the engine
    :ivar entries: the events that wait, are in flight or wait for a retry, by number
    :ivar delayed: those published for later
    :ivar retrying: the numbers of those that wait for a retry
    :ivar size: the bytes of all these
    :ivar ops: to write in the next transaction
    :ivar sends: messages to workers, after it, by the number of their link
    :ivar confirms: those among them that confirm publishes, by link
    :ivar next_seq: the next place in the order of storage
    :ivar stored: the numbers of the events that are published, which the next transaction inserts
    """

    def __init__(self, contents: Contents, limits: Limits) -> None:
        self.limits: Final = limits
        self.entries: Final[dict[int, Entry]] = {}
        self.delayed: Final[dict[int, Entry]] = {}
        self.retrying: Final[set[int]] = set()
        self.size = 0
        self.schedule: Final = Schedule(limits)
        self.timers: Final = Timers()
        self.counters: Final = Counters(contents.counts)
        self.ops: list[Op] = []
        self.sends: defaultdict[int, list[FromCarrier]] = defaultdict(list)
        self.confirms: dict[int, Confirm] = {}
        self.stored: list[int] = []
        self.next_seq = contents.next_seq

    @property
    def number(self) -> int:
        """The number of unsettled events."""
        return len(self.entries) + len(self.delayed)

    def entry_of(self, seq: int, envelope: Envelope, size: int) -> Entry:
        """Return the entry of an event that is added.

        :param size: bytes of the event
        """
        # PERF: `counters.of` without the call, as this is done for each event.
        route = envelope.route
        self.counters.changed.add(route)
        counters = self.counters.by_route.get(route) or self.counters.of(route)
        counters.unsettled += 1
        self.size += size
        key = envelope.key
        if key is None:
            return Entry(seq, envelope, counters, size, envelope.cid, is_serial=False, due=envelope.due)
        return Entry(seq, envelope, counters, size, key, envelope.serial, envelope.due)

    def new_confirm(self, number: int) -> Confirm:
        """Return what will confirm the publishes of a link, once their events are stored. It is sent as it is then."""
        confirm = self.confirms[number] = Confirm([])
        self.sends[number].append(confirm)
        return confirm

    def forget(self, entry: Entry) -> None:
        """Remove an event, which is over."""
        if self.entries.pop(entry.seq, None) is None:
            self.delayed.pop(entry.seq, None)
        if entry.timer:
            self.retrying.discard(entry.seq)
            self.timers.cancel(entry)
        self.size -= entry.size
        entry.counters.unsettled -= 1

    def update(self, entry: Entry) -> None:
        """Write that an event, which is not in flight any more, has changed."""
        self.ops.append(
            Update(
                entry.seq,
                entry.attempts,
                entry.crashes,
                entry.suspect,
                entry.due,
                entry.error,
                entry.first_started,
            )
        )
