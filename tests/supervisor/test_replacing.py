"""Whose turn it is to be replaced."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tiny_listener_supervisor.fleet.health import Health
from tiny_listener_supervisor.fleet.reload_status import Rollout
from tiny_listener_supervisor.fleet.replacing import Replacer
from tiny_listener_supervisor.fleet.slot import Slot, Worker, WorkerState
from tiny_listener_supervisor.policy import Limits


class Server:
    """Slots with workers that serve, and what was done with them.

    :ivar forked: the slots that got a successor, in order
    :ivar drained: workers that were told to drain
    """

    def __init__(self, count: int, batch: int) -> None:
        self.slots = [Slot(number, self.worker(WorkerState.READY)) for number in range(count)]
        self.forked: list[int] = []
        self.drained: list[Worker] = []
        self.stopped = False
        self.version = 0
        self.counts = {"reload": 0, "recycle": 0}
        me: Any = self
        self.replacer = Replacer(self.slots, Rollout(self.slots), me, me, None, counts=self.counts, batch=batch)

    @staticmethod
    def worker(state: WorkerState) -> Worker:
        """Return a worker without a process."""
        channel: Any = None
        return Worker(None, 1, channel, None, memoryview(bytearray(40)).cast("d"), 0.0, 0, state)

    def fork(self, slot: Slot) -> Worker:
        """Note who gets a successor."""
        self.forked.append(slot.number)
        return self.worker(WorkerState.STARTING)

    def start(self, slot: Slot) -> None:
        """No slot is empty."""

    def drain_or_kill(self, slot: Slot, worker: Worker) -> None:
        """Note who drains."""
        self.drained.append(worker)

    def ready(self, number: int) -> None:
        """Let a slot's successor be ready."""
        slot = self.slots[number]
        assert slot.successor is not None
        slot.successor.step(WorkerState.READY)
        self.replacer.hand_over(slot)


@pytest.mark.parametrize("batch", [1, 2, 3, 9])
def test_a_reload_replaces_no_more_at_a_time_than_the_batch(batch: int) -> None:
    server = Server(5, batch)
    server.replacer.replace_all()
    for done in range(5):
        assert server.forked == list(range(min(5, batch + done)))
        server.ready(done)
    assert server.forked == [0, 1, 2, 3, 4]
    assert server.counts == {"reload": 5, "recycle": 0}


def test_slots_that_are_due_for_themselves_are_replaced_one_by_one() -> None:
    server = Server(4, batch=3)
    server.replacer.replace(server.slots[2], "old")
    server.replacer.replace(server.slots[3], "old")
    server.replacer.replace(server.slots[3], "fat")
    assert server.forked == [2]
    server.replacer.replace_all()  # 3 is due as it is, and does not wait for a second turn
    assert server.forked == [2]
    server.ready(2)
    assert server.forked == [2, 3, 0, 1]
    server.ready(3)
    server.ready(0)
    assert server.forked == [2, 3, 0, 1, 2]
    assert server.counts == {"reload": 1, "recycle": 2}


def test_one_that_cannot_boot_ends_the_reload_for_those_that_wait_and_those_that_boot() -> None:
    server = Server(4, batch=2)
    first = [slot.worker for slot in server.slots]
    server.replacer.replace_all()
    booting = server.slots[1].successor
    server.slots[0].successor = None

    async def give_up() -> None:
        server.replacer.give_up(server.slots[0], "exited with code 3")

    asyncio.run(give_up())
    assert server.forked == [0, 1]
    assert server.drained == [booting]
    assert [slot.worker for slot in server.slots] == first
    assert not any(slot.successor for slot in server.slots)
    server.replacer.replace_all()
    assert server.forked == [0, 1, 0, 1]


def test_nobody_is_replaced_during_a_stop() -> None:
    server = Server(3, batch=1)
    server.replacer.replace_all()
    server.stopped = True
    server.ready(0)
    assert server.forked == [0]


class Loop:
    """A loop whose clock the test sets, and whose timers never ring."""

    now = 0.0

    def time(self) -> float:
        """Return the test's time."""
        return self.now

    def call_later(self, *_: object) -> None:
        """Take no notice."""


def test_a_worker_that_said_it_is_due_is_replaced_after_code_that_did_not_boot() -> None:
    slot = Slot(0, Server.worker(WorkerState.READY))
    assert slot.worker is not None
    slot.worker.due = "it has dispatched 20 events (--max-requests)"
    slot.not_before = 30.0  # a successor could not boot
    asked: list[str] = []
    health = Health([slot], Limits(max_requests=20), 0.0, lambda _, reason: asked.append(reason))
    loop: Any = Loop()
    loop.now = 29.9
    health.start(loop)
    assert not asked
    loop.now = 30.0
    health.start(loop)
    assert asked == [slot.worker.due]
