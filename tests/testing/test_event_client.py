"""EventClient: its life, its clock, what it says, and what it does with a handler that waits."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.core.publishing.running import App
from tiny_listener import Event, RetryLater
from tiny_listener.testing import EventClient


@pytest.fixture
def app() -> App:
    app = App()

    @app.on_event("it {n}")
    async def it(n: str) -> None:
        if n == "bad":
            raise ValueError("no")
        if n == "later":
            raise RetryLater(3600)
        if n == "sleeps":
            await asyncio.sleep(0.05)
        if n == "thread":
            await asyncio.to_thread(time.sleep, 0.05)
        if n == "stuck":
            await asyncio.Event().wait()

    return app


def test_it_runs_the_life_of_the_application(app: App) -> None:
    seen: list[str] = []

    @app.startup
    async def start() -> None:
        seen.append("start")

    @app.shutdown
    async def stop() -> None:
        seen.append("stop")

    host = app.host
    for _ in range(2):
        with EventClient(app) as events:
            assert seen == ["start"]
            events.publish("it 1")
            events.run()
            assert len(events.settled) == 1
        assert seen == ["start", "stop"]
        seen.clear()
    assert app.host is host
    assert app.publisher is None


def test_what_a_startup_callback_raises(app: App) -> None:
    @app.startup
    async def start() -> None:
        raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"), EventClient(app):
        pass


def test_where_it_cannot_be_used(app: App) -> None:
    with pytest.raises(RuntimeError, match="with EventClient"):
        EventClient(app).publish("it 1")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="a loop is running in this thread"), EventClient(app):
            pass

    asyncio.run(main())


def test_nothing_is_handled_before_run(app: App) -> None:
    with EventClient(app) as events:
        events.publish("it 1", {"a": 1}, key="k")
        assert events.attempts("it 1") == 0
        assert [(event.path, event.key, event.data) for event in events.waiting] == [("it 1", "k", {"a": 1})]
        events.run()
        assert events.attempts("it 1") == 1
        assert events.waiting == []


def test_an_hour_takes_no_time(app: App) -> None:
    began = time.monotonic()
    with EventClient(app) as events:
        start = events.now
        events.publish("it later")
        events.advance(5 * 3600)
        assert events.now == start + 5 * 3600
        assert events.attempts("it later") == 5
    assert time.monotonic() - began < 10


def test_what_falls_due_runs_in_the_order_of_time() -> None:
    app = App()
    seen: list[tuple[str, float]] = []

    @app.on_event("it {n}")
    async def it(n: str) -> None:
        seen.append((n, events.now - start))
        if n == "3":
            await app.publish("it 4", delay=5)

    with EventClient(app) as events:
        start = events.now
        for n in (30, 3, 20):
            events.publish(f"it {n}", delay=n)
        events.advance(100)
        for wrong in (-1, float("nan"), float("inf"), 10**400, "1", None):
            with pytest.raises(ValueError, match="0 or more"):
                events.advance(wrong)  # type: ignore[arg-type]
    assert seen == [("3", 3), ("4", 8), ("20", 20), ("30", 30)]


@pytest.mark.parametrize("n", ["sleeps", "thread"])
def test_it_waits_for_a_handler_that_comes_on_by_itself(app: App, n: str) -> None:
    with EventClient(app, patience=20) as events:
        events.publish(f"it {n}")
        events.run()
        assert [event.outcome for event in events.settled] == ["ok"]


def test_a_handler_that_waits_for_nothing_stays_in_flight(app: App) -> None:
    with EventClient(app, patience=0.05) as events:
        events.publish("it stuck")
        events.run()
        assert [event.is_in_flight for event in events.waiting] == [True]
        assert events.crash_worker() == 1
        assert events.crash_worker() == 0
        assert [event.is_in_flight for event in events.waiting] == [False]
        events.run()
        assert events.attempts("it stuck") == 2


def test_messages_that_help(app: App) -> None:
    with EventClient(app) as events:
        with pytest.raises(AssertionError, match="no event 'it 1' was published: there is none"):
            events.attempts("it 1")
        first = events.publish("it bad")
        events.publish("it bad")
        events.run()
        with pytest.raises(AssertionError, match=r"2 events are 'it bad', ask by an id: Tracked\(path='it bad'"):
            events.attempts("it bad")
        assert events.attempts(first.id) == 1
        with pytest.raises(AssertionError, match="no event 'it 1' was published: Tracked"):
            events.attempts("it 1")
        with pytest.raises(AssertionError, match=r"no dead letter has the id 'x': Dead\(path='it bad'"):
            events.redrive("x")
        with pytest.raises(AssertionError, match="no dead letter has the reason 'rejected'"):
            events.redrive(reason="rejected")
        with pytest.raises(AssertionError, match="'k' is not halted"):
            events.skip("k")
        with pytest.raises(AssertionError, match="the request 'it later' has no answer: Tracked"):
            events.request("it later")


def test_an_application_without_such_routes() -> None:
    with EventClient(App()) as events:
        events.run()
        events.advance(10)
        assert (events.dead, events.waiting, events.settled, events.halted) == ([], [], [], [])
        assert events.crash_worker() == 0
        with pytest.raises(AssertionError, match="has no route for published events"):
            events.discard("x")


def test_named_events_are_found_by_their_pattern(app: App) -> None:
    seen: list[str | None] = []

    @app.on_event("named {x}")
    async def named(event: Event, x: str) -> None:
        seen.append(x)

    with EventClient(app) as events:
        one = app.event("named {x}", x="a b/c")
        events.publish(one)
        events.run()
        assert events.attempts(one) == 1
    assert seen == ["a b/c"]


def test_what_a_client_cannot_do_while_it_is_in_use(app: App) -> None:
    @app.on_event("use")
    async def use() -> None:
        events.run()

    with EventClient(app) as events:
        with pytest.raises(RuntimeError, match="is in use"), events:
            pass
        events.publish("use")
        events.run()
        assert "outside handlers" in events.dead[0].text
