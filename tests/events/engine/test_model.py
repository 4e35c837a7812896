"""The engine against a list for each key: whatever workers, carrier and disk do, the order of a key is kept."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.events.journal import Journal
from tiny_listener.events.engine import Engine
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.life import State
from tiny_listener.events.messages import (
    Confirm,
    Deliver,
    Done,
    Draining,
    Failed,
    Held,
    Hello,
    Publish,
    Refuse,
    Returned,
    Unroutable,
)
from tiny_listener.events.policy import RouteTerms
from tiny_listener.events.settings import Limits
from tiny_listener.events.store.ops import Insert

LIMITS = Limits(
    max_events=12, partitions=8, max_crashes=3, lease=5.0, successor_wait=1.0, alone_after=2.0, alone_for=4.0
)
PUBLISHER = 0
KEYS = ["ann", "bob", "cyd"]


class Worker:
    """What a worker knows: the events that it has in flight, and those whose settling is not confirmed."""

    def __init__(self, number: int, slot: int) -> None:
        self.number, self.slot = number, slot
        self.in_flight: dict[int, Deliver] = {}
        self.since: dict[int, float] = {}
        self.draining = False


class Carrier(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.journal = Journal()
        self.engine = Engine(self.journal.load(), LIMITS, self.now)
        self.workers: dict[int, Worker] = {}
        self.numbers = 0
        self.published = 0
        self.asked: dict[int, Publish] = {}
        self.stored: dict[str, list[str]] = defaultdict(list)
        self.confirmed: set[str] = set()
        self.starts: dict[str, list[str]] = defaultdict(list)
        self.over: set[str] = set()
        self.lowest: dict[str, int] = {}
        self.passed: set[str] = set()

    # --- what the carrier does ---

    def turn(self, *, fails: bool = False) -> None:
        effects = self.engine.take(self.now)
        if fails:
            effects = self.engine.withdraw(effects, "the disk is full")
        self.journal.commit(effects.ops)
        for op in effects.ops:
            if isinstance(op, Insert) and op.envelope.due is None:
                self.stored[op.envelope.key or ""].append(op.envelope.id)
        for number, message in [(number, one) for number, sent in effects.sends.items() for one in sent]:
            if isinstance(message, Confirm):
                for n in message.ns:
                    envelope = self.asked.pop(n).envelope
                    if not message.duplicate:
                        self.confirmed.add(envelope.id)
            elif isinstance(message, Refuse):
                self.asked.pop(message.n, None)
            elif isinstance(message, Deliver) and number in self.workers:
                self.deliver(self.workers[number], message)

    def deliver(self, worker: Worker, message: Deliver) -> None:
        assert not worker.draining
        assert len(worker.in_flight) < 3, "the window"
        assert message.envelope.id not in self.over, "settled, and started again"
        key = message.envelope.key
        others = [w for w in self.workers.values() if w is not worker]
        if key is not None and message.envelope.serial:
            for other in self.workers.values():
                for held in other.in_flight.values():
                    assert held.envelope.key != key or not held.envelope.serial, "two of a key at a time"
        for other in others:  # affinity
            assert key is None or all(held.envelope.key != key for held in other.in_flight.values()), "two workers"
        if self.is_suspect(message.seq):
            assert all(self.now - worker.since[seq] >= 2.0 for seq in worker.in_flight), "a suspect runs alone"
        for seq in worker.in_flight:
            assert not self.is_suspect(seq) or self.now - worker.since[seq] >= 4.0, "nothing starts beside it"
        worker.since[message.seq] = self.now
        in_route = sum(held.envelope.route == message.envelope.route for held in worker.in_flight.values())
        assert message.envelope.route != "narrow" or in_route == 0, "the concurrency of the route"
        worker.in_flight[message.seq] = message
        if key is not None and message.envelope.serial:
            starts = self.starts[key]
            if not starts or starts[-1] != message.envelope.id:
                starts.append(message.envelope.id)

    def is_suspect(self, seq: int) -> bool:
        entry = self.engine.state.entries.get(seq)
        return entry is not None and entry.suspect

    def hear(self, worker: Worker, message: object) -> None:
        self.engine.hear(worker.number, [message], self.now)

    # --- rules ---

    @rule(
        key=st.sampled_from([None, *KEYS]),
        serial=st.booleans(),
        route=st.sampled_from(["wide", "narrow"]),
        delay=st.sampled_from([None, None, 2.0]),
        same_id=st.booleans(),
        fails=st.sampled_from([False, False, False, True]),
        wait=st.sampled_from([0.0, 3.0]),
    )
    def publish(  # noqa: PLR0917
        self, key: str | None, serial: bool, route: str, delay: float | None, same_id: bool, fails: bool, wait: float
    ) -> None:
        self.published += 1
        name = f"e{self.published - 1 if same_id and self.published > 1 else self.published}"
        if same_id and name not in self.confirmed:
            return
        due = None if delay is None else self.now + delay
        envelope = Envelope(name, "p", route, b"x", self.now, key, serial, due=due)
        message = Publish(self.published, envelope, wait)
        self.asked[message.n] = message
        self.engine.hear(PUBLISHER, [message], self.now)
        self.turn(fails=fails)

    @rule(slot=st.integers(0, 2))
    def join(self, slot: int) -> None:
        if any(worker.slot == slot and not worker.draining for worker in self.workers.values()):
            return
        self.numbers += 1
        worker = self.workers[self.numbers] = Worker(self.numbers, slot)
        terms = {"narrow": RouteTerms(concurrency=1), "wide": RouteTerms()}
        self.engine.hear(worker.number, [Hello(slot, 1, 3, terms)], self.now)
        self.turn()

    def some(self, data: st.DataObject) -> tuple[Worker, Deliver]:
        worker = data.draw(st.sampled_from([w for w in self.workers.values() if w.in_flight]))
        return worker, worker.in_flight.pop(data.draw(st.sampled_from(sorted(worker.in_flight))))

    def has_in_flight(self) -> bool:
        return any(worker.in_flight for worker in self.workers.values())

    @precondition(has_in_flight)
    @rule(data=st.data(), fails=st.booleans())
    def done(self, data: st.DataObject, fails: bool) -> None:
        worker, deliver = self.some(data)
        self.over.add(deliver.envelope.id)
        self.hear(worker, Done(deliver.seq))
        self.turn(fails=fails)

    @precondition(has_in_flight)
    @rule(data=st.data(), wait=st.sampled_from([0.05, 1.0, None]), passing=st.booleans())
    def failed(self, data: st.DataObject, wait: float | None, passing: bool) -> None:
        worker, deliver = self.some(data)
        if wait is None:
            self.over.add(deliver.envelope.id)
        elif passing and deliver.envelope.key:
            self.passed.add(deliver.envelope.key)
        self.hear(worker, Failed(deliver.seq, "error", "ValueError", "no", wait, "attempts", passing))
        self.turn()

    @precondition(has_in_flight)
    @rule(data=st.data())
    def unroutable(self, data: st.DataObject) -> None:
        worker, deliver = self.some(data)
        self.hear(worker, Unroutable(deliver.seq))
        self.turn()

    @precondition(has_in_flight)
    @rule(data=st.data())
    def given_back(self, data: st.DataObject) -> None:
        worker, deliver = self.some(data)
        self.hear(worker, Returned([deliver.seq]))
        self.turn()

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(list(self.workers.values())))
        if not worker.draining:
            worker.draining = True
            self.hear(worker, Draining())
            self.turn()

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(list(self.workers.values())))
        del self.workers[worker.number]
        self.engine.leave(worker.number, self.now)
        self.turn()
        self.over |= {letter.envelope.id for letter in self.journal.dead.values()}

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.engine.tick(self.now)
        self.turn()

    @rule(data=st.data())
    def carrier_dies(self, data: st.DataObject) -> None:
        """What was committed is loaded, and the workers that live say what they have in flight."""
        self.asked.clear()
        self.engine = Engine(self.journal.load(), LIMITS, self.now)
        self.engine.expect([worker.slot for worker in self.workers.values()], self.now)
        self.turn()
        assert not any(entry.state is State.IN_FLIGHT for entry in self.engine.state.entries.values())
        old, self.workers = list(self.workers.values()), {}
        for worker in old:
            self.numbers += 1
            worker.number = self.numbers
            self.workers[worker.number] = worker
            terms = {"narrow": RouteTerms(concurrency=1), "wide": RouteTerms()}
            holds = [Held(seq, deliver.attempt) for seq, deliver in worker.in_flight.items()]
            self.engine.hear(worker.number, [Hello(worker.slot, 1, 3, terms, "s", holds)], self.now)
            if worker.draining:
                self.hear(worker, Draining())
            self.turn()

    # --- what always holds ---

    @invariant()
    def starts_are_in_the_order_of_storage(self) -> None:
        for key in KEYS:
            if key in self.passed:
                continue
            serial = self.starts[key]
            wanted = [event for event in self.stored[key] if event in set(serial)]
            assert serial == wanted, (key, serial, wanted)

    @invariant()
    def nothing_is_lost(self) -> None:
        known = {entry.envelope.id for entry in self.engine.state.entries.values()}
        known |= {entry.envelope.id for entry in self.engine.state.delayed.values()}
        kept = {event.envelope.id for event in self.journal.events.values()}
        dead = {letter.envelope.id for letter in self.journal.dead.values()}
        assert known == kept
        assert self.confirmed - self.over - dead == kept - self.over

    @invariant()
    def memory_agrees(self) -> None:
        for worker in self.workers.values():
            member = self.engine.schedule.members[worker.number]
            assert set(member.in_flight) == set(worker.in_flight)
            narrow = sum(deliver.envelope.route == "narrow" for deliver in worker.in_flight.values())
            assert member.by_route.get("narrow", 0) == narrow
        state = self.engine.state
        assert state.size == sum(e.envelope.size for e in [*state.entries.values(), *state.delayed.values()])
        by_route = Counter(e.envelope.route for e in [*state.entries.values(), *state.delayed.values()])
        assert by_route == +Counter({route: one.unsettled for route, one in state.counters.by_route.items()})
        retrying = {e.seq for e in state.entries.values() if e.state is State.RETRYING}
        assert state.retrying == retrying
        for key, lane in self.engine.schedule.lanes.items():
            assert lane.key == key
            assert not lane.is_empty

    def teardown(self) -> None:
        """Workers that work end everything."""
        for slot in range(3):
            if not any(worker.slot == slot and not worker.draining for worker in self.workers.values()):
                self.join(slot)
        for _ in range(400):
            busy = [(w, d) for w in self.workers.values() for d in w.in_flight.values()]
            for worker, deliver in busy:
                del worker.in_flight[deliver.seq]
                self.over.add(deliver.envelope.id)
                self.hear(worker, Done(deliver.seq))
                self.turn()
            self.starts_are_in_the_order_of_storage()
            if not self.engine.state.number:
                break
            self.wait(0.5)
        assert self.engine.state.number == 0, [*self.engine.state.entries.values()]
        assert not self.journal.events
        assert not self.engine.schedule.lanes
        assert self.confirmed <= self.over | {letter.envelope.id for letter in self.journal.dead.values()}


Carrier.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestCarrier = Carrier.TestCase
