"""The carrier: delayed events, and requests that expire."""

from __future__ import annotations

import asyncio

from tests.events.workers import Full, Worker, close
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
