"""Lanes: the queue of each key. A lane says which of its events may start next."""

from __future__ import annotations

from collections import deque
from typing import Final

from ..envelope import partition_of
from ..life import Entry, State

__all__ = ["Lane", "Lanes"]


class Lane:
    """The unsettled events of one key. Those of serial routes are in order, and one at a time.

    :ivar current: the serial event that holds the key: in flight, or waiting for its retry
    :ivar in_flight: how many of its events are in flight, serial or not
    :ivar member: the link of the worker that has them
    :ivar halted: the number of the dead letter that the key waits for; None: it is not halted
    :ivar is_listed: whether it stands in the queue of a worker, ready to start something
    """

    __slots__ = ("current", "halted", "in_flight", "is_listed", "key", "member", "partition", "serial", "shared")

    def __init__(self, key: str, partition: int) -> None:
        self.key: Final = key
        self.partition: Final = partition
        self.serial: deque[Entry] = deque()
        self.shared: (
            deque[Entry] | tuple[()]
        ) = ()  # PERF: few keys have such events, and an empty deque takes 600 bytes
        self.current: Entry | None = None
        self.in_flight = 0
        self.member: int | None = None
        self.halted: int | None = None
        self.is_listed = False

    def next(self) -> Entry | None:
        """Return the event that may start next, without removing it; None: none may."""
        serial = self.serial[0] if self.serial and self.current is None and self.halted is None else None
        if not self.shared:
            return serial
        shared = self.shared[0]
        return shared if serial is None or shared.seq < serial.seq else serial

    def started(self, entry: Entry, member: int) -> None:
        """Remove the event that `next` has returned: it is in flight."""
        if entry.is_serial:
            assert self.serial[0] is entry
            self.serial.popleft()
            self.current = entry
        else:
            self._of_shared.popleft()
        self.in_flight += 1
        self.member = member

    def resumed(self, entry: Entry, member: int) -> None:
        """An event turns out to be in flight at a worker that registered again."""
        if entry.is_serial:
            self.serial.remove(entry)
            self.current = entry
        else:
            self._of_shared.remove(entry)
        self.in_flight += 1
        self.member = member

    @property
    def holds_key_in_flight(self) -> bool:
        """Whether a serial event of this lane is in flight, and not only waiting for its retry."""
        return self.current is not None and self.current.state is State.IN_FLIGHT

    @property
    def _of_shared(self) -> deque[Entry]:
        if not isinstance(self.shared, deque):
            self.shared = deque()
        return self.shared

    def add(self, entry: Entry, *, first: bool = False) -> None:
        """Add a waiting event, at the end, or before all others."""
        queue = self.serial if entry.is_serial else self._of_shared
        if first:
            queue.appendleft(entry)
        else:
            queue.append(entry)

    def remove(self, entry: Entry) -> None:
        """Remove a waiting event, wherever it stands."""
        (self.serial if entry.is_serial else self._of_shared).remove(entry)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of it."""
        return not (self.serial or self.shared or self.in_flight or self.current or self.halted is not None)

    @property
    def waiting(self) -> int:
        """Number of events that wait in it."""
        return len(self.serial) + len(self.shared)


class Lanes(dict[str, Lane]):
    """The lanes by key. A lane without events does not exist.

    :param partitions: the number of partitions of the keys
    """

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self._partitions: Final = partitions

    def of(self, key: str) -> Lane:
        """Return the lane of a key, which is made if there is none."""
        lane = self.get(key)
        if lane is None:
            lane = self[key] = Lane(key, partition_of(key, self._partitions))
        return lane

    def forget_if_empty(self, lane: Lane) -> None:
        """Remove a lane that has no events left."""
        if lane.is_empty and self.get(lane.key) is lane:
            del self[lane.key]
