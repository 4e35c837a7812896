"""Which event starts next, and at which worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from ..life import Entry
from ..settings import Limits
from .lanes import Lane, Lanes
from .members import Member, Owners

__all__ = ["Schedule"]


class Schedule:
    """The waiting events and the workers.

    A lane that can start something stands in the queue of the worker that owns its key. An event without a key stands
    in a queue by its route, from which every worker takes.

    :param limits: of the engine
    """

    def __init__(self, limits: Limits) -> None:
        self._limits: Final = limits
        self.lanes: Final = Lanes(limits.partitions)
        self.members: Final[dict[int, Member]] = {}
        self._owners: Final = Owners(limits.partitions)
        self._by_slot: dict[int, Member] = {}
        self._by_partition: list[Member | None] = [None] * limits.partitions
        self._awaited: dict[int, float] = {}
        self._orphans: list[Lane] = []
        self._keyless: Final[dict[str, deque[Entry]]] = {}
        self._suspects: Final[deque[Entry]] = deque()
        self._turn = 0
        self._has_suspects = False  # PERF: nearly always, no worker has one

    # --- events -----------------------------------------------------------------------------------

    def add(self, entry: Entry, *, first: bool = False) -> None:
        """Add a waiting event: behind the others of its key, or before them."""
        key = entry.affinity
        if key is not None:
            lane = entry.lane = self.lanes.of(key)
            if first or not entry.is_serial:
                lane.add(entry, first=first)
            else:
                lane.serial.append(entry)  # PERF: most are added so
            if not lane.is_listed:
                self.list(lane)
        elif entry.suspect:
            self._suspects.append(entry)
        else:
            queue = self._keyless.setdefault(entry.envelope.route, deque())
            if first:
                queue.appendleft(entry)
            else:
                queue.append(entry)

    def remove(self, entry: Entry) -> None:
        """Remove an event that waits."""
        if (lane := entry.lane) is not None:
            lane.remove(entry)
            self.lanes.forget_if_empty(lane)
        elif entry in self._suspects:
            self._suspects.remove(entry)
        else:
            for member in self.members.values():
                if member.suspect is entry:
                    member.suspect = None
                    return
            queue = self._keyless[entry.envelope.route]
            queue.remove(entry)
            if not queue:
                del self._keyless[entry.envelope.route]

    def skip(self, entry: Entry) -> None:
        """Remove an event that `rounds` has yielded, instead of starting it."""
        if (lane := entry.lane) is not None:
            lane.remove(entry)
            self.list(lane)
            self.lanes.forget_if_empty(lane)

    def keep_key(self, entry: Entry, *, waits: bool) -> None:
        """Let an event hold its key, when it is loaded in the order of storage: the last one that was started. Those
        before it have let it pass while they wait for their retries, or it would not have been started.

        :param waits: whether it waits for its retry; otherwise it only takes the key from those before it
        """
        if entry.is_serial and entry.affinity is not None:
            lane = entry.lane = self.lanes.of(entry.affinity)
            lane.current = entry if waits else None

    def start(self, entry: Entry, member: Member) -> None:
        """An event, which `pick` has returned, is in flight at a worker."""
        if (lane := entry.lane) is not None:
            lane.started(entry, member.number)
            if lane.shared or (lane.serial and lane.current is None):
                self.list(lane)  # others of the key may start too
        # PERF: `_hold` without the call, where there is neither a limit nor a suspect.
        if member.limits or entry.suspect:
            self._hold(entry, member)
            return
        member.in_flight[entry.seq] = entry
        entry.member = member.number
        entry.slot = member.slot

    def resume(self, entry: Entry, member: Member) -> bool:
        """A waiting event turns out to be in flight at a worker that has registered again. Return False if it cannot
        be, because another event of its key is.
        """
        if (lane := entry.lane) is None:
            self.remove(entry)
        else:
            if lane.member not in (None, member.number) or (entry.is_serial and lane.holds_key_in_flight):
                return False
            lane.resumed(entry, member.number)
        self._hold(entry, member)
        return True

    def _hold(self, entry: Entry, member: Member) -> None:
        member.in_flight[entry.seq] = entry
        if (route := entry.envelope.route) in member.limits:
            member.by_route[route] = member.by_route.get(route, 0) + 1
        if entry.suspect:
            member.alone, member.until = entry, None
            self._has_suspects = True
        entry.member = member.number
        entry.slot = member.slot

    def end(self, entry: Entry, *, keeps_key: bool = False) -> None:
        """An event is not in flight any more.

        :param keeps_key: whether it still holds its key, because it waits for its retry
        """
        assert entry.member is not None
        member = self.members.get(entry.member)
        entry.member = None
        if member is not None:
            del member.in_flight[entry.seq]
            if member.alone is entry:
                member.alone = member.until = None
            if member.limits and (route := entry.envelope.route) in member.limits:
                member.by_route[route] -= 1
                if parked := member.parked.get(route):
                    member.ready.append(parked.popleft())
        if (lane := entry.lane) is not None:
            in_flight = lane.in_flight = lane.in_flight - 1
            if not in_flight:
                lane.member = None
            if lane.current is entry and not keeps_key:
                lane.current = None
            if lane.serial or lane.shared:
                self.list(lane)
            elif not in_flight and lane.current is None and lane.halted is None:
                del self.lanes[lane.key]

    def release(self, entry: Entry) -> None:
        """An event that kept its key gives it up."""
        if (lane := entry.lane) is not None:
            if lane.current is entry:
                lane.current = None
            self.list(lane)
            self.lanes.forget_if_empty(lane)

    def halt(self, key: str, number: int | None) -> None:
        """Let a key wait for an operator, who looks at a dead letter; None: let it go on."""
        lane = self.lanes.of(key)
        lane.halted = number
        self.list(lane)
        self.lanes.forget_if_empty(lane)

    def list(self, lane: Lane) -> None:
        """Put a lane into the queue of the worker that owns its key, if it can start something there."""
        if lane.is_listed or lane.next() is None:
            return
        member = self._by_partition[lane.partition]
        if member is None:
            lane.is_listed = True
            self._orphans.append(lane)
        elif not lane.in_flight or lane.member == member.number:
            lane.is_listed = True
            member.ready.append(lane)
        # Otherwise the worker that had the key until now has one of its events in flight: `end` lists it again.

    # --- workers ----------------------------------------------------------------------------------

    def join(self, member: Member) -> None:
        """A worker has registered. It owns the keys of its slot from now on."""
        self.members[member.number] = member
        if not member.is_draining:
            self._by_slot[member.slot] = member
            self._awaited.pop(member.slot, None)
            self._reassign()

    def drain(self, member: Member) -> None:
        """A worker starts nothing more."""
        member.is_draining = True
        self._leave_slot(member)

    def leave(self, member: Member, awaited_until: float | None) -> None:
        """A worker is gone, with nothing in flight.

        :param awaited_until: its keys wait so long for a successor in its slot; None: other workers have them at once
        """
        del self.members[member.number]
        if awaited_until is not None and self._by_slot.get(member.slot) is member:
            self._awaited[member.slot] = awaited_until
        self._leave_slot(member)

    def _leave_slot(self, member: Member) -> None:
        if self._by_slot.get(member.slot) is member:
            del self._by_slot[member.slot]
        self._reassign((*member.ready, *(lane for parked in member.parked.values() for lane in parked)))
        member.ready.clear()
        member.parked.clear()
        if isinstance(member.suspect, Entry):
            self._suspects.append(member.suspect)
        elif member.suspect is not None:
            member.suspect.is_listed = False
            self.list(member.suspect)
        member.suspect = None

    def _reassign(self, lanes: tuple[Lane, ...] = ()) -> None:
        """Give all listed lanes to those who own them now.

        :param lanes: further lanes, of a worker that owns nothing any more
        """
        listed = [*self._orphans, *lanes]
        self._orphans = []
        if self._owners.change({*self._by_slot, *self._awaited}):
            for member in self.members.values():
                listed += (*member.ready, *(lane for parked in member.parked.values() for lane in parked))
                member.ready.clear()
                member.parked.clear()
        self._by_partition = [None if slot is None else self._by_slot.get(slot) for slot in self._owners.by_partition]
        for lane in listed:
            lane.is_listed = False
        for lane in listed:
            self.list(lane)

    def stop_awaiting(self, now: float) -> None:
        """Give the keys of slots to others, whose successor did not come in time; and go on beside suspects."""
        for member in self.members.values():
            if member.until is not None and member.until <= now:
                member.stop_waiting()
        late = [slot for slot, until in self._awaited.items() if until <= now]
        for slot in late:
            del self._awaited[slot]
        if late:
            self._reassign()

    @property
    def awaited_until(self) -> float | None:
        """When to call `stop_awaiting` next."""
        if not self._has_suspects:
            return min(self._awaited.values(), default=None)
        times = [member.until for member in self.members.values() if member.until is not None]
        return min((*self._awaited.values(), *times), default=None)

    # --- what starts ------------------------------------------------------------------------------

    def rounds(self, now: float) -> Iterator[tuple[Member, Entry]]:
        """Yield events that may start, one for each worker in turn, until none may. The caller starts each, or removes
        it.
        """
        members = [member for member in self.members.values() if member.has_room]
        if members:
            self._turn = (self._turn + 1) % len(members)
            members = members[self._turn :] + members[: self._turn]
        while members:
            able = []
            for member in members:
                entry = None
                if member.alone is None and len(member.in_flight) < member.window:
                    # PERF: nearly always, there are neither suspects nor events without a key.
                    is_plain = member.ready and member.suspect is None and not self._suspects
                    entry = (is_plain and self._pick_of_lanes(member)) or self._pick(member)
                if entry is not None:
                    able.append(member)
                    yield member, entry
            members = able
        if self._has_suspects:
            for member in self.members.values():
                member.watch(now, self._limits)
            self._has_suspects = any(member.until is not None for member in self.members.values())

    def _pick(self, member: Member) -> Entry | None:
        """Return the event to start next at a worker; it is still among the waiting ones."""
        if member.suspect is None and self._suspects:
            member.suspect = self._suspects.popleft()
            self._has_suspects = True
        if member.suspect is not None:
            return self._pick_suspect(member)
        entry = self._pick_of_lanes(member) if member.ready else None
        if entry is not None or member.suspect is not None or not self._keyless:
            return entry
        return self._pick_keyless(member)

    def _pick_suspect(self, member: Member) -> Entry | None:
        suspect = member.suspect
        assert suspect is not None
        if member.in_flight and not member.is_pressing:
            return None  # it runs alone
        member.suspect = member.until = None
        member.is_pressing = False
        if isinstance(suspect, Lane):
            suspect.is_listed = False
            entry = suspect.next()
            if entry is not None and member.is_full_of(route := entry.envelope.route):
                suspect.is_listed = True
                member.parked.setdefault(route, deque()).append(suspect)
                entry = None
        elif member.is_full_of(suspect.envelope.route):
            self._keyless.setdefault(suspect.envelope.route, deque()).appendleft(suspect)
            entry = None
        else:
            entry = suspect
        return entry if entry is not None else self._pick(member)

    def _pick_of_lanes(self, member: Member) -> Entry | None:
        while member.ready:
            lane = member.ready.popleft()
            lane.is_listed = False
            entry = lane.next()
            if entry is None or (lane.in_flight and lane.member != member.number):
                continue
            if member.limits and member.is_full_of(route := entry.envelope.route):
                lane.is_listed = True
                member.parked.setdefault(route, deque()).append(lane)
            elif entry.suspect and member.in_flight:
                lane.is_listed = True
                member.suspect = lane
                self._has_suspects = True
                return None
            else:
                return entry
        return None

    def _pick_keyless(self, member: Member) -> Entry | None:
        for route in list(self._keyless):
            queue = self._keyless[route]
            if member.is_full_of(route):
                continue
            del self._keyless[route]
            entry = queue.popleft()
            if queue:
                self._keyless[route] = queue  # at the end: routes take turns
            return entry
        return None
