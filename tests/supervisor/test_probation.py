"""New code on probation: who gives way to it and when, and that nobody does to code that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_listener_supervisor.fleet.probation import HANGS, LOOK_AGAIN, STEADY, hang_limit, time_left
from tiny_listener_supervisor.fleet.reload_status import Rollout
from tiny_listener_supervisor.fleet.replacing import RELOAD, Replacer, may_begin
from tiny_listener_supervisor.fleet.slot import Slot, Worker, WorkerState


@pytest.mark.parametrize(
    ("stamp", "now", "left"),
    [
        (10.0, 10.0, 1.0),
        (10.9, 10.9, pytest.approx(0.1)),
        (10.9, 11.0, 0.0),
        (11.0 - STEADY, 11.0, 0.0),
        (11.0 - STEADY - 0.01, 11.0, LOOK_AGAIN),  # its loop is blocked
        (13.9, 14.0, 0.0),  # and goes on
        (9.9, 10.1, pytest.approx(0.9)),
    ],
)
def test_who_has_lived_for_long_enough_and_turns_its_loop_has_passed(stamp: float, now: float, left: float) -> None:
    assert time_left(1.0, 10.0, stamp, now) == left


def test_a_short_probation_waits_for_a_heartbeat() -> None:
    assert time_left(0.01, 10.0, 10.0, 10.05) == LOOK_AGAIN  # the stamp is from before it was ready
    assert time_left(0.01, 10.0, 10.04, 10.05) == 0.0


@pytest.mark.parametrize(
    ("length", "hang_timeout", "limit"),
    [(1.0, 30.0, HANGS), (1.0, 1.0, 1.0), (1.0, 0.0, HANGS), (10.0, 30.0, 10.0), (60.0, 30.0, 30.0), (10.0, 0.0, 10.0)],
)
def test_a_hang_on_probation_need_not_wait_for_the_hang_timeout(
    length: float, hang_timeout: float, limit: float
) -> None:
    assert hang_limit(length, hang_timeout) == limit


@pytest.mark.parametrize(
    ("reason", "booting", "on_probation", "replacing", "proven", "begins"),
    [
        (RELOAD, 0, 0, 0, False, True),
        (RELOAD, 1, 0, 1, False, True),
        (RELOAD, 2, 0, 2, False, False),
        (RELOAD, 0, 2, 2, False, False),
        (RELOAD, 1, 1, 2, False, False),
        (RELOAD, 0, 9, 9, True, True),
        (RELOAD, 1, 9, 10, True, True),
        (RELOAD, 2, 0, 2, True, False),
        ("old", 0, 0, 0, True, True),
        ("old", 0, 1, 1, True, False),
        ("old", 0, 0, 1, True, False),
    ],
)
def test_how_many_are_replaced_at_a_time(
    reason: str, booting: int, on_probation: int, replacing: int, *, proven: bool, begins: bool
) -> None:
    found = may_begin(reason, 2, booting=booting, on_probation=on_probation, replacing=replacing, proven=proven)
    assert found is begins


class Server:
    """Slots, and workers without processes that do what the test says.

    :ivar old: those that serve, and nobody told to drain
    """

    def __init__(self, count: int, batch: int = 1) -> None:
        self.slots = [Slot(number) for number in range(count)]
        self.rollout = Rollout(self.slots, self.over)
        self.drained: list[Worker] = []
        self.stopped = False
        self.version = 0
        counts = {"reload": 0, "recycle": 0}
        me: Any = self
        self.replacer = Replacer(self.slots, self.rollout, me, me, me, counts=counts, batch=batch)
        for slot in self.slots:
            self.start(slot)
            self.ready(slot)

    def over(self, failure: str | None) -> None:
        """Do what the supervisor does then."""
        if failure is not None:
            self.replacer.call_off()

    def fork(self, slot: Slot) -> Worker:
        """Make a worker."""
        channel: Any = None
        shown = memoryview(bytearray(40)).cast("d")
        return Worker(None, 1, channel, None, shown, 0.0, self.version)

    def start(self, slot: Slot) -> None:
        """Give an empty slot a worker."""
        if slot.is_empty:
            slot.worker = self.fork(slot)

    def drain_or_kill(self, slot: Slot, worker: Worker) -> None:
        """Let a worker drain."""
        if worker.state in (WorkerState.STARTING, WorkerState.READY):
            worker.step(WorkerState.DRAINING)
        self.drained.append(worker)

    @staticmethod
    def begin(slot: Slot, worker: Worker) -> None:
        """Begin a probation, which the test ends."""
        worker.on_probation = True

    def reload(self) -> None:
        """Ask for a reload."""
        self.version += 1
        self.rollout.begin(self.version)
        self.replacer.replace_all()

    def newest(self, slot: Slot) -> Worker:
        """Return the worker of a slot that came last."""
        worker = slot.successor or slot.worker
        assert worker is not None
        return worker

    def ready(self, slot: Slot) -> None:
        """Let the worker be ready that boots."""
        worker = self.newest(slot)
        worker.step(WorkerState.READY)
        self.replacer.ready(slot, worker)
        self.rollout.look()

    def passes(self, slot: Slot) -> None:
        """Let the worker on probation live through it."""
        worker = self.newest(slot)
        worker.on_probation = False
        self.replacer.passed(slot, worker)
        self.rollout.look()

    def dies(self, slot: Slot, worker: Worker) -> None:
        """Let a worker be killed, and do what the supervisor does then."""
        was, role = worker.state, "worker" if worker is slot.worker else "successor"
        worker.step(WorkerState.DEAD)
        slot.remove(worker)
        if was is WorkerState.STARTING:
            self.rollout.worker_failed(worker.version, "was killed before it was ready", -9)
        if worker.on_probation:
            self.replacer.fail_probation(slot, worker, "was killed", -9)
        if role == "worker":
            self.replacer.step_in(slot)
        if was is WorkerState.STARTING and worker.version < self.version:
            self.replacer.start_over(slot)
        elif role == "successor" and was is WorkerState.STARTING:
            self.replacer.give_up(slot, "was killed before it was ready")
        self.start(slot)

    def happens(self, event: str, slot: Slot) -> Worker | None:
        """Let something happen, where it can; return the worker that it is about."""
        newest = self.newest(slot)
        actor = {"worker": slot.worker, "successor": slot.successor}.get(event, newest)
        if event == "reload":
            self.reload()
        elif event == "due":
            self.replacer.replace(slot, "old")
        elif event == "ready" and newest.state is WorkerState.STARTING:
            self.ready(slot)
        elif event == "passes" and newest.on_probation:
            self.passes(slot)
        elif event in {"worker", "successor"} and actor is not None:
            self.dies(slot, actor)
        return actor

    def on_probation(self) -> list[int]:
        """Return the slots with a worker on probation."""
        return [slot.number for slot in self.slots if slot.workers() and self.newest(slot).on_probation]

    def booting(self) -> list[int]:
        """Return the slots with a worker that boots."""
        return [s.number for s in self.slots for w in s.workers() if w.state is WorkerState.STARTING]


@pytest.fixture(autouse=True)
def _loop() -> Iterator[None]:
    """A loop whose clock can be asked, as in the supervisor."""
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(loop)
    yield
    asyncio._set_running_loop(None)
    loop.close()


def test_the_first_one_passes_before_any_other_slot_and_before_the_old_one_drains() -> None:
    server = Server(3)
    first = [slot.worker for slot in server.slots]
    server.reload()
    assert server.booting() == [0]
    server.ready(server.slots[0])
    assert (server.booting(), server.on_probation(), server.drained) == ([], [0], [])
    assert [slot.worker for slot in server.slots] == first
    server.passes(server.slots[0])
    assert server.drained == first[:1]
    assert (server.booting(), server.on_probation()) == ([1], [])
    server.ready(server.slots[1])  # once one has passed nobody waits for another's probation
    assert (server.booting(), server.on_probation(), server.drained) == ([2], [1], first[:1])
    server.ready(server.slots[2])
    server.passes(server.slots[2])
    assert server.rollout.is_running
    server.passes(server.slots[1])
    assert server.rollout.last is not None
    assert server.rollout.last.state == "done"
    assert server.drained == [first[0], first[2], first[1]]


def test_a_death_on_probation_leaves_the_old_code_in_every_slot() -> None:
    server = Server(4, batch=2)
    first = [slot.worker for slot in server.slots]
    server.reload()
    assert server.booting() == [0, 1]
    server.ready(server.slots[0])
    other = server.slots[1].successor
    server.dies(server.slots[0], server.newest(server.slots[0]))
    assert [slot.worker for slot in server.slots] == first
    assert server.drained == [other]
    assert server.rollout.last is not None
    assert server.rollout.last.state == "failed"
    assert "was killed as soon as it was ready (within" in str(server.rollout.last.failure)
    server.reload()
    assert server.booting() == [0, 1]


def test_a_death_in_a_later_slot_leaves_the_old_code_there_and_behind_it() -> None:
    server = Server(4)
    first = [slot.worker for slot in server.slots]
    server.reload()
    server.ready(server.slots[0])
    server.passes(server.slots[0])
    server.ready(server.slots[1])
    server.ready(server.slots[2])
    server.dies(server.slots[1], server.newest(server.slots[1]))
    assert [slot.worker for slot in server.slots][1:] == first[1:]
    assert not any(slot.successor for slot in server.slots)
    assert first[0] in server.drained
    assert not set(map(id, first[1:])) & set(map(id, server.drained))


def test_a_reload_during_a_probation_begins_again_with_the_newest_code() -> None:
    server = Server(3)
    first = [slot.worker for slot in server.slots]
    server.reload()
    server.ready(server.slots[0])
    outdated = server.slots[0].successor
    server.reload()
    assert server.drained == [outdated]
    assert server.booting() == [0]
    assert [slot.worker for slot in server.slots] == first
    server.ready(server.slots[0])
    server.passes(server.slots[0])
    # Slots that a reload interrupts come first in the next, so that reloads faster than a probation reach them all.
    server.ready(server.slots[1])
    server.reload()
    assert server.booting() == [1, 2]  # the one in slot 2 is of the code before, which nobody waits for


def test_code_that_boots_while_a_newer_reload_is_asked_for_does_not_take_over() -> None:
    server = Server(2)
    first = server.slots[0].worker
    server.reload()
    outdated = server.slots[0].successor
    server.reload()
    assert server.slots[0].successor is outdated
    server.ready(server.slots[0])
    assert server.drained == [outdated]
    assert server.slots[0].worker is first
    assert server.booting() == [1]
    assert server.newest(server.slots[1]).version == 2


def test_an_old_worker_that_dies_meanwhile_is_followed_by_the_one_on_probation() -> None:
    server = Server(2)
    server.reload()
    server.ready(server.slots[0])
    successor, old = server.slots[0].successor, server.slots[0].worker
    assert old is not None
    server.dies(server.slots[0], old)
    assert server.slots[0].worker is successor
    assert server.booting() == []  # the others still wait for its probation
    assert server.on_probation() == [0]
    server.passes(server.slots[0])
    assert server.booting() == [1]


def test_one_that_a_reload_starts_in_an_empty_slot_is_tried_like_any_other() -> None:
    server = Server(3)
    broken = server.slots[2].worker
    assert broken is not None
    broken.step(WorkerState.DEAD)
    server.slots[2].remove(broken)
    server.slots[2].failures = 7
    server.reload()
    assert server.booting() == [2]  # at once, whatever it waited for, and the others after it
    assert server.slots[2].failures == 0
    server.ready(server.slots[2])
    assert server.on_probation() == [2]
    assert server.rollout.is_running
    server.passes(server.slots[2])
    assert server.booting() == [0]


def test_a_slot_that_is_retired_on_probation_leaves_the_trial_to_the_next() -> None:
    server = Server(3)
    server.reload()
    server.ready(server.slots[0])
    for worker in server.slots[0].retire():
        server.drain_or_kill(server.slots[0], worker)
    server.replacer.forget(server.slots[0])
    assert server.booting() == [1]
    server.ready(server.slots[1])
    assert server.booting() == []


def test_one_that_was_recycled_is_on_probation_too() -> None:
    server = Server(2)
    first = server.slots[0].worker
    server.replacer.replace(server.slots[0], "old")
    server.replacer.replace(server.slots[1], "old")
    server.ready(server.slots[0])
    assert server.booting() == []
    server.dies(server.slots[0], server.newest(server.slots[0]))
    assert server.slots[0].worker is first
    assert server.slots[0].not_before > 0.0


EVENTS = st.tuples(st.sampled_from(["reload", "due", "ready", "passes", "worker", "successor"]), st.integers(0, 4))


@given(st.integers(1, 5), st.integers(1, 3), st.lists(EVENTS, max_size=40))
def test_no_slot_loses_old_code_to_code_that_has_not_passed(
    count: int, batch: int, events: list[tuple[str, int]]
) -> None:
    server = Server(count, batch)
    for event, number in events:
        slot = server.slots[number % count]
        before = {each: each.worker for each in server.slots if each.is_ready}
        actor = server.happens(event, slot)
        for each, served in before.items():
            # Who serves gives way only to one that has passed, or because it died itself.
            assert each.worker is served or actor in (served, each.worker)
        for each in server.slots:
            assert each.worker is not None or each.successor is not None
    server.reload()  # whatever happened, code that works reaches every slot in the end
    for _ in range(20):
        for slot in server.slots:
            server.happens("ready", slot)
            server.happens("passes", slot)
    assert server.rollout.last is not None
    assert server.rollout.last.state == "done"
    assert {slot.worker.version for slot in server.slots if slot.worker} == {server.version}
