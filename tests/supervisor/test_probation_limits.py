"""The end of a probation: it passes, or its worker hangs or ends."""

from __future__ import annotations

import asyncio
from typing import Any

from tiny_listener_supervisor.fleet.health import Health
from tiny_listener_supervisor.fleet.probation import Probation
from tiny_listener_supervisor.fleet.slot import Slot, Worker, WorkerState
from tiny_listener_supervisor.policy import Limits
from tiny_listener_supervisor.worker.heartbeat import STAMP


class Loop:
    """A loop whose clock the test sets, and that runs its timers when that is due."""

    def __init__(self) -> None:
        self.now = 0.0


def test_a_successor_that_hangs_is_ended() -> None:
    ended: list[tuple[int, float]] = []

    class Looking(Health):
        def _end_hung(self, slot: Slot, worker: Worker, limit: float) -> None:
            ended.append((worker.pid, limit))

    def worker(pid: int, stamp: float, *, on_probation: bool) -> Worker:
        channel: Any = None
        shown = memoryview(bytearray(40)).cast("d")
        shown[STAMP] = stamp
        return Worker(None, pid, channel, None, shown, 0.0, 0, WorkerState.READY, on_probation=on_probation)

    slots = [
        Slot(0, worker(1, -100.0, on_probation=False), worker(2, -100.0, on_probation=True)),
        Slot(1, worker(3, -100.0, on_probation=True)),
    ]
    health = Looking(slots, Limits(), 0.0, lambda *_: None, 5.0)
    health._loop = Loop()  # type: ignore[assignment]
    health._loop.call_later = lambda *_: None  # type: ignore[assignment, method-assign]
    health._loop.time = lambda: 0.0  # type: ignore[method-assign]
    health._awake_since = -100.0
    health._last_tick = float("inf")
    health._tick()
    assert ended == [(2, 5.0), (3, 5.0)]


def test_a_probation_ends_with_its_worker() -> None:
    passed: list[Worker] = []
    now = 10.0

    async def main() -> None:
        nonlocal now
        probation = Probation(1.0, lambda _, worker: passed.append(worker), lambda: now)
        slot, channel = Slot(0), None
        shown = memoryview(bytearray(40)).cast("d")
        worker = Worker(None, 1, channel, None, shown, 0.0, 0, WorkerState.READY, ready_since=10.0)  # type: ignore[arg-type]
        probation.begin(slot, worker)
        assert worker.on_probation
        now, shown[STAMP] = 11.0, 10.95
        worker.step(WorkerState.DRAINING)
        probation._look(slot, worker)
        assert not passed
        worker.state = WorkerState.READY
        probation._look(slot, worker)
        assert passed == [worker]
        assert not worker.on_probation
        for timer in worker.timers:
            timer.cancel()

    asyncio._set_running_loop(None)
    asyncio.run(main())
