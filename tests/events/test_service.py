"""The carrier: transactions that fail, links that end, two servers, and restarts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.events.store.kept import KeptStore
from tests.events.workers import Full, Worker, close, until
from tiny_listener import CarrierError
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.messages import (
    Confirm,
    Deliver,
    Done,
    Draining,
    Failed,
    Held,
    Publish,
    Refuse,
    Result,
    Returned,
    Settled,
    Welcome,
)
from tiny_listener.events.questions import AskView, View
from tiny_listener.events.service import Clock, EventService
from tiny_listener.events.settings import EventSettings, Limits
from tiny_listener.events.store.ops import Insert


@pytest.mark.parametrize("in_thread", [False, True])
def test_on_a_full_disk_publishing_fails_and_settling_goes_on(runner: asyncio.Runner, in_thread: bool) -> None:
    async def main() -> None:
        store = Full()
        service = EventService(EventSettings(), in_thread=in_thread, store=store)
        service.start()
        worker = Worker(service)
        await worker.hello()
        worker.publish("a")
        worker.publish("b")
        first = (await worker.all(Deliver))[0]
        store.fails = lambda op: isinstance(op, Insert)
        worker.publish("c")
        worker.send(Done(first.seq))
        worker.publish("d", key=None)
        refused = await worker.all(Refuse, 2)
        assert [(one.n, one.kind, one.text) for one in refused] == [
            (3, "failed", "the disk is full"),
            (4, "failed", "the disk is full"),
        ]
        await worker.all(Settled)
        assert (await worker.all(Deliver, 2))[1].envelope.id == "b", "the next event of the key"
        assert (await service.answer(AskView())).failure == "the disk is full"  # type: ignore[union-attr]
        store.fails = lambda _: False
        worker.publish("c")
        await worker.all(Confirm, 3)
        view = await service.answer(AskView())
        assert isinstance(view, View)
        assert view.failure is None
        assert view.routes[0].counters.published == {"stored": 3, "failed": 2}
        assert view.waiting + sum(view.in_flight.values()) == 2
        assert worker.ids == ["a", "b"]
        assert any("events" in name for name in store.threads) == in_thread
        await close(service, worker)

    runner.run(main())


def test_nothing_is_forgotten_while_the_disk_takes_nothing(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiny_listener.events.service.TRY_AGAIN", 0.01)

    async def main() -> None:
        store = Full()
        service = EventService(EventSettings(), store=store)
        service.start()
        worker = Worker(service)
        await worker.hello()
        worker.publish("a")
        worker.publish("b")
        (first,) = await worker.all(Deliver)
        store.fails = lambda _: True
        worker.send(Done(first.seq))
        await until(lambda: service.failure)
        worker.publish("c")
        assert (await worker.all(Refuse))[0].text == "the disk is full"
        assert worker.ids == ["a"], "it is not stored that the first is settled"
        store.fails = lambda _: False
        await worker.all(Settled)
        await worker.all(Deliver, 2)
        assert worker.ids == ["a", "b"]
        await close(service, worker)

    runner.run(main())


@pytest.mark.parametrize("is_stuck_before", [False, True])
def test_a_stop_does_not_wait_for_a_full_disk(runner: asyncio.Runner, is_stuck_before: bool) -> None:
    async def main() -> None:
        store = Full()
        service = EventService(EventSettings(), in_thread=True, store=store)
        service.start()
        worker = Worker(service)
        await worker.hello()
        worker.publish("a")
        (first,) = await worker.all(Deliver)
        store.fails = lambda _: True
        worker.send(Done(first.seq))
        if is_stuck_before:
            await until(lambda: service.failure)
        await asyncio.wait_for(close(service, worker), 10)
        assert len(store.load(0, 0).events) == 1

    runner.run(main())


def test_the_end_of_a_link_is_a_crash_unless_its_worker_drains(runner: asyncio.Runner) -> None:
    async def main() -> None:
        service = EventService(EventSettings(limits=Limits(successor_wait=0)), store=KeptStore())
        service.start()
        one, other = Worker(service, 0), Worker(service, 1)
        await one.hello()
        one.publish("a", None)
        await one.all(Deliver)
        await other.hello()
        one.link.close()
        (again,) = await other.all(Deliver)
        assert (again.attempt, again.redelivered) == (2, True)
        other.send(Draining())
        third = Worker(service, 2)
        await third.hello()
        other.link.close()
        (last,) = await third.all(Deliver)
        assert (last.attempt, last.redelivered) == (2, True), "a drain counts no attempt"
        third.send(Returned([last.seq]))
        assert [one.attempt for one in await third.all(Deliver, 2)] == [2, 2]
        await close(service, third)

    runner.run(main())


def test_a_link_with_nonsense_is_closed_and_the_others_work(runner: asyncio.Runner) -> None:
    async def main() -> None:
        service = EventService(EventSettings(), store=KeptStore())
        service.start()
        worker = Worker(service)
        await worker.hello()
        ours, theirs = socket.socketpair()
        with ours:
            ours.settimeout(0)
            service.attach(theirs, 1)
            ours.send(b"\0\0\0\1\xc1")
            loop = asyncio.get_running_loop()
            while await loop.sock_recv(ours, 1000):
                pass
        worker.publish("a")
        await worker.all(Deliver)
        await close(service, worker)

    runner.run(main())


def test_a_second_carrier_of_a_folder_is_refused(runner: asyncio.Runner, tmp_path: Path) -> None:
    async def main() -> None:
        settings = EventSettings(str(tmp_path))
        first, second = EventService(settings), EventService(settings)
        first.start()
        with pytest.raises(CarrierError, match="only one server at a time"):
            second.start()
        await first.close()
        second.start()
        await second.close()
        await second.close()

    runner.run(main())


def test_a_restart_keeps_order_attempts_delays_and_ids(runner: asyncio.Runner, tmp_path: Path) -> None:
    async def main() -> None:
        settings = EventSettings(str(tmp_path))
        service = EventService(settings)
        service.start()
        worker = Worker(service)
        await worker.hello()
        for n in range(5):
            worker.publish(f"e{n}")
        worker.send(Publish(99, Envelope("late", "p", "p", b"1", 1.0, "k", due=service.clock() + 3600), 0))
        await worker.all(Confirm, 6)
        worker.send(Done((await worker.all(Deliver))[0].seq))
        second = (await worker.all(Deliver, 2))[1]
        worker.send(Failed(second.seq, "error", "ValueError", "no", 0.05))
        await worker.all(Settled, 2)
        await worker.all(Deliver, 3)  # its second attempt, in flight
        service._folder.close()  # type: ignore[union-attr]  # as if the process were killed
        before = worker
        again = EventService(settings)
        again.start()
        worker = Worker(again)
        await worker.hello()
        worker.publish("e0")
        assert (await worker.all(Confirm))[0].duplicate
        for n in range(1, 5):
            deliver = (await worker.all(Deliver, n))[-1]
            assert deliver.envelope.id == f"e{n}"
            assert (deliver.attempt, deliver.redelivered) == ((3, True) if n == 1 else (1, False))
            worker.send(Done(deliver.seq))
        await worker.all(Settled)
        await until(lambda: not again.engine.state.entries)
        assert len(again.engine.state.delayed) == 1
        await close(again, worker)
        before.link.close()
        await service.unlinked()
        service.store.close()

    runner.run(main())


class Frozen(Clock):
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now

    def call_at(self, when: float, fn: Callable[[], None]) -> asyncio.TimerHandle | None:
        return None


@pytest.mark.parametrize("way", ["registers", "is gone", "lease"])
def test_nothing_starts_until_the_expected_workers_are_heard(runner: asyncio.Runner, way: str) -> None:
    async def main() -> None:
        store, clock = KeptStore(), Frozen()
        store.commit([Insert(1, Envelope("a", "p", "p", b"1", 1.0, "k"), 1.0)])
        service = EventService(EventSettings(), clock=clock, store=store)
        service.start(expected=[0, 1])
        one, other = Worker(service, 0), Worker(service, 1)
        await one.hello()
        one.publish("b")
        await one.all(Confirm)
        assert one.ids == []
        await other.all(Welcome)
        if way == "registers":
            await other.hello(store.id, [Held(1, 3)])
            other.send(Done(1))
            await other.all(Settled)
            wanted = ["b"]
        elif way == "is gone":
            other.link.close()
            wanted = ["a"]
        else:
            clock.now += Limits().lease
            service.wake()
            wanted = ["a"]
        await until(lambda: one.ids + other.ids)
        assert one.ids + other.ids == wanted
        await close(service, one, other)

    runner.run(main())


@pytest.mark.parametrize("first", ["the publisher", "the worker"])
def test_a_result_survives_a_restart_if_its_publisher_asks_before_it_comes(runner: asyncio.Runner, first: str) -> None:
    async def main() -> None:
        store = KeptStore()
        service = EventService(EventSettings(), store=store)
        service.start()
        worker, publisher = Worker(service, 0), Worker(service, 1)
        await worker.hello()
        publisher.publish("a", wants_result=True)
        await publisher.all(Confirm)
        (deliver,) = await worker.all(Deliver)
        assert deliver.wants_result
        before = worker, publisher
        again = EventService(EventSettings(), store=store)
        again.start(expected=[0])
        worker, publisher = Worker(again, 0), Worker(again, 1)
        if first == "the publisher":
            publisher.publish("a", wants_result=True)
            await publisher.all(Confirm)
        await worker.hello(store.id, [Held(deliver.seq, 1)])
        if first == "the worker":
            publisher.publish("a", wants_result=True)
            await publisher.all(Confirm)
        worker.send(Done(deliver.seq, b"42"))
        assert await publisher.all(Result) == [Result(1, b"42")]
        assert not again.engine.admission._requests
        await close(again, worker, publisher)
        await close(service, *before)

    runner.run(main())


def test_what_a_worker_holds_of_another_store_is_ignored(runner: asyncio.Runner) -> None:
    async def main() -> None:
        store = KeptStore()
        store.commit([Insert(1, Envelope("a", "p", "p", b"1", 1.0, "k"), 1.0)])
        service = EventService(EventSettings(), store=store)
        service.start()
        worker = Worker(service)
        await worker.hello("another store", [Held(1, 7)])
        assert (await worker.all(Deliver))[0].attempt == 1
        worker.send(Done(99), Failed(98, "error", "E", "t"), Returned([97]))
        assert (await worker.all(Settled))[0].count == 2
        await close(service, worker)

    runner.run(main())
