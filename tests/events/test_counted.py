"""Counters of published events: what operators and Prometheus see of them is what is stored."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.http.helpers import until
from tiny_listener.events.engine import Engine
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.messages import Done, Held, Hello
from tiny_listener.events.policy import RouteTerms
from tiny_listener.events.questions import AskPublish, AskView, Stored, View, Wrong
from tiny_listener.events.service import EventService
from tiny_listener.events.settings import EventSettings, Limits
from tiny_listener.events.store.ops import Contents, Op, StoredEvent, StoreFailed

ROUTE = "order {n:int}"


def envelope(n: int = 1) -> Envelope:
    return Envelope(f"id {n}", f"order {n}", ROUTE, b"null", 1.0, key="a")


async def published(service: EventService) -> dict[str, int]:
    view = await service.answer(AskView())
    assert isinstance(view, View)
    return next((one.counters.published for one in view.routes if one.route == ROUTE), {})


def test_a_transaction_that_is_not_over_is_not_seen(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()

    async def main() -> None:
        service = EventService(EventSettings(), in_thread=True)
        service.start()
        commit = service.store.commit

        def slow(ops: list[Op]) -> None:
            assert may_go_on.wait(20)
            commit(ops)

        monkeypatch.setattr(service.store, "commit", slow)
        storing = asyncio.ensure_future(service.answer(AskPublish(envelope())))
        await until(lambda: service.engine.state.number == 1)
        asking = asyncio.ensure_future(published(service))
        await asyncio.sleep(0)  # it has looked at the counters, and waits for the size of the store
        may_go_on.set()
        assert await asking == {}
        assert isinstance(await storing, Stored)
        assert await published(service) == {"stored": 1}
        await service.close()

    runner.run(main())


def test_what_could_not_be_stored_is_seen_as_failed(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: list[Op]) -> None:
        raise StoreFailed("the disk is full")

    async def main() -> None:
        service = EventService(EventSettings())
        service.start()
        assert isinstance(await service.answer(AskPublish(envelope())), Stored)
        with monkeypatch.context() as patch:
            patch.setattr(service.store, "commit", fail)
            assert isinstance(await service.answer(AskPublish(envelope(2))), Wrong)
            assert await published(service) == {"stored": 1, "failed": 1}
        assert isinstance(await service.answer(AskPublish(envelope(3))), Stored)
        assert await published(service) == {"stored": 2, "failed": 1}
        await service.close()

    runner.run(main())


@pytest.mark.parametrize(
    ("holds", "attempts"), [([], {"crashed": 1, "ok": 1}), ([Held(1, 1)], {"ok": 1})], ids=["it is gone", "it goes on"]
)
def test_an_attempt_that_ended_with_the_server_is_counted_once(holds: list[Held], attempts: dict[str, int]) -> None:
    started = StoredEvent(1, envelope(), attempts=1, first_started=2.0, is_started=True)
    engine = Engine(Contents([started], next_seq=2), Limits(), 3.0)
    engine.hear(1, [Hello(0, 1, 3, {ROUTE: RouteTerms()}, "s", holds)], 3.0)
    engine.take(3.0)
    engine.hear(1, [Done(1)], 4.0)
    engine.take(4.0)
    assert engine.state.counters.by_route[ROUTE].attempts == attempts
