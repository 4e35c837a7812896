"""The carrier: delayed events, and requests that expire."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.events.workers import Full, Worker, close
from tiny_listener.events.clock import Clock
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.messages import Confirm, Deliver, Publish
from tiny_listener.events.service import EventService
from tiny_listener.events.settings import EventSettings
from tiny_listener.events.store.ops import Insert


def test_on_a_full_disk_delayed_events_fall_due(runner: asyncio.Runner) -> None:
    async def main() -> None:
        store = Full()
        service = EventService(EventSettings(), store=store)
        service.start()
        worker = Worker(service)
        await worker.hello()
        worker.publish("a")
        worker.send(Publish(2, Envelope("later", "p", "p", b"1", 1.0, due=service.clock() + 0.05), 0))
        await worker.all(Confirm, 2)
        store.fails = lambda op: isinstance(op, Insert) and op.is_new
        await worker.all(Deliver, 2)
        assert worker.ids == ["a", "later"]
        assert service.failure is None
        await close(service, worker)

    runner.run(main())


class Apart(Clock):
    """The clock of a carrier that was started before the clock of the system was set."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def __call__(self) -> float:
        return super().__call__() + self._seconds


@pytest.mark.parametrize("seconds", [-1e9, -3600, 0, 3600, 1e9])
def test_times_hold_after_the_clock_of_the_system_was_set(runner: asyncio.Runner, seconds: float) -> None:
    async def main() -> None:
        service = EventService(EventSettings(), clock=Apart(seconds))
        service.start()
        worker = Worker(service)
        await worker.hello()
        started = time.time()
        for n, due, expires in ((1, 0.1, None), (2, 60, None), (3, None, 60), (4, None, -60)):
            envelope = Envelope(str(n), "p", "p", b"1", started)
            envelope.due = None if due is None else started + due
            envelope.expires = None if expires is None else started + expires
            worker.send(Publish(n, envelope, 0))
        await worker.all(Deliver, 2)
        assert worker.ids == ["3", "1"]
        assert time.time() - started >= 0.09
        state = service.engine.state
        assert [entry.envelope.id for entry in state.delayed.values()] == ["2"]
        assert state.counters.of("p").settled == {"expired": 1}
        await close(service, worker)

    runner.run(main())
