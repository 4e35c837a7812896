"""Which slot gets a worker and which loses one, and when neither does."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from tiny_listener_supervisor.fleet.scaling import MAX_WORKERS, Scaler, in_use, slot_to_fill, slot_to_leave, why_not
from tiny_listener_supervisor.fleet.slot import Slot, Worker, WorkerState


def worker(pid: int, state: WorkerState = WorkerState.READY) -> Worker:
    channel: Any = None
    return Worker(None, pid, channel, None, memoryview(bytearray(8)).cast("d"), 0.0, state=state)


def crew(count: int) -> list[Slot]:
    return [Slot(number, worker(10 + number)) for number in range(count)]


@pytest.mark.parametrize(
    ("wanted", "stopping", "starting", "words"),
    [
        (1, False, False, None),
        (MAX_WORKERS, False, False, None),
        (0, False, False, "cannot scale below 1 worker; to end the server, stop it"),
        (MAX_WORKERS + 1, False, False, "cannot scale above 1024 workers"),
        (2, True, False, "cannot change the number of workers while they are stopping"),
        (2, False, True, "cannot change the number of workers while they are starting"),
    ],
)
def test_what_is_refused(wanted: int, stopping: bool, starting: bool, words: str | None) -> None:
    assert why_not(wanted, stopping=stopping, starting=starting) == words


def test_the_lowest_retired_slot_is_filled_first() -> None:
    slots = crew(4)
    assert slot_to_fill(slots) is None
    slots[2].retire()
    slots[1].retire()
    assert slot_to_fill(slots) is slots[1]
    assert in_use(slots) == [slots[0], slots[3]]


def test_a_slot_that_serves_nothing_leaves_before_the_highest() -> None:
    slots = crew(3)
    assert slot_to_leave(slots) is slots[2]
    slots[1].worker = None
    assert slot_to_leave(slots) is slots[1]
    slots[0].worker = worker(20, WorkerState.STARTING)
    assert slot_to_leave(slots) is slots[1]
    slots[1].retire()
    assert slot_to_leave(slots) is slots[0]


def test_a_slot_retires_with_its_successor_and_comes_back_with_a_clean_record() -> None:
    slot = Slot(0, worker(10), worker(11, WorkerState.STARTING), failures=3, not_before=9.0)
    assert [left.pid for left in slot.retire()] == [10, 11]
    assert (slot.retired, slot.worker, slot.successor) == (True, None, None)
    assert [left.pid for left in slot.workers()] == [10, 11]
    slot.fill()
    assert (slot.retired, slot.joining, slot.failures, slot.not_before) == (False, True, 0, 0.0)


class Desk:
    """A scaler, and what it asked for."""

    def __init__(self, count: int) -> None:
        self.slots = crew(count)
        self.asked: list[tuple[str, int]] = []
        self.fault: OSError | None = None
        self.scaler = Scaler(self.slots, self.start, lambda slot, left: self.asked.append(("leave", slot.number)))

    def start(self, slot: Slot) -> None:
        if self.fault is not None:
            raise self.fault
        self.asked.append(("start", slot.number))

    def scale(self, wanted: int) -> str | None:
        self.asked.clear()
        return self.scaler.scale(wanted, "SIGTTIN", stopping=False, starting=False)


def test_slots_come_and_go_with_their_numbers() -> None:
    desk = Desk(3)
    assert desk.scale(1) is None
    assert desk.asked == [("leave", 2), ("leave", 1)]
    assert desk.scale(4) is None
    assert desk.asked == [("start", 1), ("start", 2), ("start", 3)]
    assert [slot.number for slot in desk.slots] == [0, 1, 2, 3]
    assert desk.scale(4) is None
    assert desk.asked == []


def test_a_fork_that_fails_is_said_and_leaves_the_slot_retired() -> None:
    desk = Desk(2)
    desk.fault = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    assert desk.scale(3) == f"cannot start more than 2 workers: {os.strerror(errno.EAGAIN)}"
    assert [slot.retired for slot in desk.slots] == [False, False, True]
    desk.fault = None
    assert desk.scale(3) is None
    assert desk.asked == [("start", 2)]
