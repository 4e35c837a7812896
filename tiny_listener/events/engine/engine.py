"""The engine: what becomes of each published event, message by message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..envelope import Envelope
from ..life import Entry, State
from ..messages import (
    Deliver,
    Done,
    Draining,
    Failed,
    Hello,
    Publish,
    Result,
    Returned,
    Unroutable,
)
from ..policy import Reason
from ..settings import Limits
from ..store.ops import Contents, Count, Delete, Insert, Start, StoredEvent
from .admission import Admission
from .effects import Effects, without_publishes
from .letters import Letters
from .loading import load
from .members import Member
from .settling import Settling
from .state import EngineState

__all__ = ["Effects", "Engine"]

SETTLING: Final = frozenset({Done, Failed, Unroutable})
"""The messages that are confirmed; see `Settled`."""


class Engine:
    """The published events of a server, and the workers that handle them.

    Feed it with messages, then `take` the effects. It never asks for the time: `now` is seconds since 1970, and must
    not go backwards.

    :param contents: what the store has
    :param limits: how much it takes
    :param now: the time
    :ivar is_paused: whether nothing is started for the time being
    """

    def __init__(self, contents: Contents, limits: Limits, now: float) -> None:
        self.is_paused = False
        self.state: Final = EngineState(contents, limits)
        self.schedule: Final = self.state.schedule
        self.admission: Final = Admission(self.state, contents.seen)
        self.letters: Final = Letters(self.state, self.admission, contents)
        self._settling: Final = Settling(self.state)
        self._left_open: Final[set[int]] = set()
        self._expected: list[int] = []
        self._expected_until = now
        self._handlers: Final[dict[type, Callable[[Member, Any, float], None]]] = {
            Done: self._done,
            Failed: self._failed,
            Returned: self._returned,
            Unroutable: self._unroutable,
            Draining: lambda member, _, __: self.schedule.drain(member),
        }
        for stored in contents.events:
            load(self.state, self.admission, stored, now)
            if stored.is_started:
                self._left_open.add(stored.seq)

    # --- a stream that stores events, and has several servers ----------------------------------------

    def add(self, envelope: Envelope, seq: int, now: float, asked_by: int | None) -> None:
        """Take an event of the stream. One that is known already is left alone: a stream may deliver twice.

        :param seq: its place in the order of the stream
        :param asked_by: the link of who waits for its result; None: nobody does
        """
        if seq in self.state.entries:
            return
        load(self.state, self.admission, StoredEvent(seq, envelope), now)
        entry = self.state.entries[seq]
        if asked_by is not None:
            entry.reply_to = asked_by, seq
        for member in self.schedule.members.values():
            if (attempt := member.claims.pop(seq, None)) is not None:
                self._resume(entry, member, attempt)
                if (said := member.early.pop(seq, None)) is not None:
                    self._handlers[type(said)](member, said, now)

    # --- messages ---------------------------------------------------------------------------------

    def expect(self, slots: Iterable[int], now: float) -> None:
        """Start nothing until a worker of each of these slots has registered, or is gone, or the lease is over.

        :param slots: one for each worker; a slot may have two
        """
        self._expected = list(slots)
        self._expected_until = now + self.state.limits.lease

    def hear(self, number: int, messages: Iterable[object], now: float) -> None:
        """Take messages of a worker.

        :param number: of its link
        """
        settled, member = 0, self.schedule.members.get(number)
        for message in messages:
            kind = type(message)
            if kind is Publish:
                self.admission.publish(message, now, number)  # type: ignore[arg-type]
            elif kind is Hello:
                member = self._join(number, message)  # type: ignore[arg-type]
            elif member is not None:
                if member.claims and kind in SETTLING and message.seq in member.claims:  # type: ignore[attr-defined]
                    member.early[message.seq] = message  # type: ignore[attr-defined]
                self._handlers[kind](member, message, now)
                settled += kind in SETTLING
        if settled:
            self._settling.add(number, settled)

    def _join(self, number: int, hello: Hello) -> Member:
        member = Member(number, hello.slot, hello.window, hello.terms)
        self.not_expected(hello.slot)
        self.schedule.join(member)
        for held in hello.holds:
            entry = self.state.entries.get(held.seq)
            if entry is None and held.envelope is not None:
                entry = self.admission.load_acked(held.seq, held.envelope)
            if entry is None:
                member.claims[held.seq] = held.attempt  # settled before, or it is yet to come from the stream
            elif entry.state in (State.WAITING, State.RETRYING):
                self._resume(entry, member, held.attempt)
            # Otherwise another worker has it: what this one says of it is ignored.
        return member

    def _resume(self, entry: Entry, member: Member, attempt: int) -> None:
        """A worker that has registered again has this event in flight."""
        if entry.state is State.RETRYING:
            self._fall_due(entry)
        if self.schedule.resume(entry, member):
            self._left_open.discard(entry.seq)
            entry.step(State.IN_FLIGHT)
            entry.attempts = attempt
        elif entry.is_acked:  # it must not be started again
            self.schedule.remove(entry)
            self.admission.answered(entry)
            self.state.forget(entry)

    def not_expected(self, slot: int) -> None:
        """A worker of this slot has registered, or is gone."""
        if slot in self._expected:
            self._expected.remove(slot)

    def leave(self, number: int, now: float) -> None:
        """The link to a worker is closed. What it had in flight is started elsewhere."""
        self.admission.forget(number)
        member = self.schedule.members.get(number)
        if member is None:
            return
        in_flight = list(member.in_flight.values())
        if member.is_draining:
            for entry in in_flight:
                self._give_back(entry)
        else:
            self._crashed(in_flight, now)
        self.schedule.leave(member, None if member.is_draining else now + self.state.limits.successor_wait)

    # --- what workers say of their events ---------------------------------------------------------

    def _done(self, member: Member, done: Done, now: float) -> None:
        entry = member.in_flight.get(done.seq)
        if entry is None:
            return
        entry.counters.attempts["ok"] += 1  # `_settle` notes that the counters have changed
        if entry.reply_to is not None:
            self._reply(entry, done.result or b"null", None)
        self._settle(entry, "ok")

    def _settle(self, entry: Entry, outcome: str) -> None:
        """An event is over, and nothing is kept of it."""
        state = self.state
        state.counters.changed.add(entry.envelope.route)
        entry.counters.settled[outcome] += 1
        was_in_flight = entry.state is State.IN_FLIGHT
        if entry.is_request:
            self.admission.answered(entry)
        entry.step(State.SETTLED)
        if not entry.is_acked:
            state.ops.append(Delete(entry.seq))
        state.forget(entry)
        if was_in_flight:
            self.schedule.end(entry)

    def _failed(self, member: Member, failed: Failed, now: float) -> None:
        entry = member.in_flight.get(failed.seq)
        if entry is None:
            return
        self.state.counters.of(entry.envelope.route).attempts[failed.outcome] += 1
        entry.error = failed.error, failed.text
        entry.suspect = False
        entry.unroutable_since = None
        if failed.wait is None or entry.is_acked:
            self._give_up(entry, failed.reason, now, halt=member.halts(entry.envelope.route))
            return
        entry.passing = failed.passing
        self._retry_at(entry, now + failed.wait)

    def _give_up(self, entry: Entry, reason: Reason, now: float, *, halt: bool) -> None:
        """An event becomes a dead letter.

        :param halt: whether its key then waits for an operator
        """
        counters = self.state.counters.of(entry.envelope.route)
        counters.settled["dead"] += 1
        counters.dead[reason] += 1
        self._reply(entry, None, entry.error)
        entry.step(State.DEAD)
        self.letters.add(entry, reason, now, halt=halt)
        self.state.forget(entry)
        self.schedule.end(entry)

    def _returned(self, member: Member, returned: Returned, now: float) -> None:
        for seq in returned.seqs:
            entry = member.in_flight.get(seq)
            if entry is not None:
                self._give_back(entry)

    def _give_back(self, entry: Entry) -> None:
        """An event waits again, before the others of its key, as if it had not been started."""
        if entry.is_acked:  # at most once: it may have been handled in part
            self._settle(entry, "ok")
            return
        entry.attempts -= 1
        entry.step(State.WAITING)
        entry.due = None
        self.schedule.end(entry, keeps_key=True)
        self.schedule.add(entry, first=True)
        self.schedule.release(entry)
        self.state.update(entry)

    def _unroutable(self, member: Member, unroutable: Unroutable, now: float) -> None:
        entry = member.in_flight.get(unroutable.seq)
        if entry is None:
            return
        entry.attempts -= 1
        if entry.unroutable_since is None:
            entry.unroutable_since = now
        if now - entry.unroutable_since < self.state.limits.unroutable_grace and not entry.is_acked:
            self._retry_at(entry, now + 1.0)
            return
        text = f"no route of a worker matches {entry.envelope.path[:200]!r}"
        entry.error = "EventNotFound", text
        self._give_up(entry, "no route", now, halt=False)

    # --- crashes ----------------------------------------------------------------------------------

    def _crashed(self, in_flight: list[Entry], now: float) -> None:
        """A worker died. An event that was alone in flight is to blame; of several, each runs alone from now on.

        If one cannot run alone, because another one does not end, the one that was started last is to blame, of those
        with which a worker died before.
        """
        blamed = in_flight[0] if len(in_flight) == 1 else next((one for one in in_flight[::-1] if one.suspect), None)
        for entry in reversed(in_flight):  # what was started last comes first: what does not end was there before
            self.state.counters.of(entry.envelope.route).attempts["crashed"] += 1
            entry.crashes += entry is blamed
            halt = self._halts(entry)
            if entry.is_acked or entry.crashes >= self.state.limits.max_crashes:
                entry.error = "WorkerDied", f"worker {entry.slot} died while it handled this event"
                self._give_up(entry, "crashed", now, halt=halt)
                continue
            entry.suspect = True
            entry.step(State.WAITING)
            entry.due = None
            self.schedule.end(entry, keeps_key=True)
            self.schedule.add(entry, first=True)
            self.schedule.release(entry)
            self.state.update(entry)

    def _halts(self, entry: Entry) -> bool:
        member = None if entry.member is None else self.schedule.members.get(entry.member)
        return member is not None and member.halts(entry.envelope.route)

    # --- time -------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what has fallen due."""
        for entry in self.state.timers.due(now):
            if entry.state is State.DELAYED:
                self._take_its_place(entry, now)
            else:
                self._fall_due(entry)
        self.schedule.stop_awaiting(now)
        self.admission.tick(now)

    def next_due(self) -> float | None:
        """Return when to call `tick` next; None: nothing waits for a time."""
        first = self.state.timers.next()
        for due in (
            self.schedule.awaited_until,
            self.admission.next_due,
            self._settling.due,
            self._expected_until if self._expected else None,
        ):
            if due is not None and (first is None or due < first):
                first = due
        return first

    def _retry_at(self, entry: Entry, when: float) -> None:
        entry.due = when
        entry.step(State.RETRYING)
        self.state.retrying.add(entry.seq)
        self.state.timers.set(entry, when)
        self.state.update(entry)
        self.schedule.end(entry, keeps_key=not entry.passing)

    def _fall_due(self, entry: Entry) -> None:
        """The wait of a retry is over: the event is the next of its key."""
        entry.step(State.WAITING)
        entry.due = None
        self.state.timers.cancel(entry)
        self.state.retrying.discard(entry.seq)
        self.schedule.add(entry, first=True)
        self.schedule.release(entry)

    def _take_its_place(self, entry: Entry, now: float) -> None:
        """A delayed event has fallen due: it is stored again, behind what its key has by now."""
        del self.state.delayed[entry.seq]
        self.state.ops.append(Delete(entry.seq))
        entry.step(State.WAITING)
        entry.seq, self.state.next_seq = self.state.next_seq, self.state.next_seq + 1
        entry.due = entry.envelope.due = None
        self.state.entries[entry.seq] = entry
        self.state.ops.append(Insert(entry.seq, entry.envelope, now, is_new=False))
        self.schedule.add(entry)

    # --- effects ----------------------------------------------------------------------------------

    def _reply(self, entry: Entry, data: bytes | None, error: tuple[str, str] | None) -> None:
        if entry.reply_to is not None:
            number, n = entry.reply_to
            self.state.sends[number].append(Result(n, data, error))
        self.admission.answered(entry)

    def take(self, now: float) -> Effects:
        """Start what may start, and return what is to be written, and then to be sent."""
        state = self.state
        if self._expected and now >= self._expected_until:
            self._expected.clear()
        started = [] if self._expected or self.is_paused else self._start(now)
        if started:
            state.ops.append(Start(started, now))
        state.ops += [Count(route, values) for route, values in state.counters.take_changed().items()]
        self._settling.confirm(now)
        effects = Effects(state.ops, state.sends, state.stored)
        state.ops, state.sends, state.stored = [], defaultdict(list), []
        state.confirms.clear()
        return effects

    def _start(self, now: float) -> list[int]:
        """Start what may start, and return the numbers of those events whose start is to be written."""
        started = []
        schedule, left_open = self.schedule, self._left_open
        sends, changed = self.state.sends, self.state.counters.changed
        for member, entry in schedule.rounds(now):
            envelope = entry.envelope
            if envelope.expires is not None and envelope.expires <= now:
                schedule.skip(entry)
                self._settle(entry, "expired")
                continue
            schedule.start(entry, member)
            entry.step(State.IN_FLIGHT)
            entry.attempts += 1
            if left_open and entry.seq in left_open:  # carrier and worker died at once, during its last attempt
                left_open.discard(entry.seq)
                self.state.counters.of(envelope.route).attempts["crashed"] += 1
            was_started = entry.first_started is not None
            if not was_started:
                entry.first_started = now
                changed.add(envelope.route)
                entry.counters.started(now - envelope.published_at)
            if member.acks_before and envelope.route in member.acks_before:
                entry.is_acked = True
                self.state.ops.append(Delete(entry.seq))
            else:
                started.append(entry.seq)
            deliver = Deliver(entry.seq, entry.attempts, was_started, envelope, entry.is_request, entry.is_acked)
            sends[member.number].append(deliver)
        return started

    def withdraw(self, effects: Effects, why: str) -> Effects:
        """The transaction failed. Return the effects without the publishes in it: their publishers are refused.

        :param why: for the publishers
        """
        for seq in effects.stored:
            self.admission.withdraw(seq)
        return without_publishes(effects, self.state.counters.take_changed(), why)
