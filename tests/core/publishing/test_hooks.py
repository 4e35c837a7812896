"""Hooks, dependencies, contexts, subscribers and open events, as published events have them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

import pytest

from tests.core.publishing.running import App
from tiny_listener import Depends, Event, ListenerError, Retry, RouteError
from tiny_listener.http import HTTPListener
from tiny_listener.testing import EventClient


async def opened(event: Event) -> AsyncIterator[str]:
    event.listener.state.seen.append("enter")
    try:
        yield f"session {event.attempt}"
    finally:
        event.listener.state.seen.append("exit")


def test_hooks_and_dependencies_run_around_each_attempt() -> None:
    app = App()
    seen: list[str] = []
    app.state.seen = seen

    @app.before_event
    async def before(event: Event) -> None:
        seen.append(f"before {event.attempt}")

    @app.after_event
    async def after() -> None:
        seen.append("after")

    @app.on_error(ValueError)
    async def error() -> None:
        seen.append("error")

    @app.on_event("it", retry=Retry(max_attempts=3))
    async def it(event: Event, session: Annotated[str, Depends(opened)]) -> None:
        seen.append(session)
        if event.attempt < 3:
            raise ValueError

    with EventClient(app) as events:
        events.publish("it")
        events.run()
        assert seen == ["before 1", "enter", "session 1", "exit"]
        events.advance(10)
        assert seen[4:8] == ["before 2", "enter", "session 2", "exit"]
        assert seen[8:] == ["before 3", "enter", "session 3", "after", "exit"]
        assert [event.outcome for event in events.settled] == ["ok"]


@pytest.mark.parametrize("kind", ["before_event", "after_event"])
def test_a_failing_hook_is_a_failure_of_the_event(kind: str) -> None:
    app = App()
    calls: list[str] = []

    async def hook(event: Event) -> None:
        calls.append("hook")
        if event.attempt == 1:
            raise ValueError

    getattr(app, kind)(hook)

    @app.on_event("it", retry=Retry())
    async def it() -> None:
        calls.append("handler")

    with EventClient(app) as events:
        events.publish("it")
        events.run()
        events.advance(1)
        assert [(event.outcome, event.attempts) for event in events.settled] == [("ok", 2)]
    order = ["hook", "handler"] if kind == "before_event" else ["handler", "hook"]
    assert calls == (["hook", *order] if kind == "before_event" else order * 2)


def test_contexts_work_over_published_events() -> None:
    app = App()
    results: list[Any] = []

    @app.on_event("read {n:int}", serial=False)
    async def read(n: int) -> int:
        return n * n

    @app.on_event("sum")
    async def total(event: Event) -> None:
        results.extend(await event.wait_event_done("read", n=3))

    with EventClient(app) as events:
        events.publish("sum", cid="job")
        events.run()
        assert results == [], "it waits, in flight"
        for n in (1, 2, 3):
            events.publish(f"read {n}", cid="job")
        events.publish("read 9", cid="other")
        events.run()
        assert results == [1, 4, 9]
        assert sorted(app.ctxs) == ["job", "other"]
        assert not events.waiting


def test_subscribers_share_an_event_and_its_attempts() -> None:
    app = App()
    seen: list[tuple[str, int, str | None]] = []

    @app.subscribe("it", retry=Retry(max_attempts=2))
    async def one(event: Event) -> str:
        seen.append(("one", event.attempt, event.id))
        return "one"

    @app.subscribe("it")
    async def two(event: Event) -> str:
        seen.append(("two", event.attempt, event.id))
        if event.attempt == 1:
            raise ValueError
        return "two"

    with EventClient(app) as events:
        stored = events.publish("it", key="k")
        events.run()
        events.advance(1)
        assert sorted(seen) == [(name, attempt, stored.id) for name in ("one", "two") for attempt in (1, 2)]
        assert [event.outcome for event in events.settled] == ["ok"]
    seen.clear()
    with EventClient(app) as events, pytest.raises(AssertionError, match="has no answer"):
        events.request("it")


def test_subscribers_that_contradict_each_other() -> None:
    app = App()

    @app.subscribe("it", retry=Retry(max_attempts=2))
    async def one() -> None: ...

    @app.subscribe("it", retry=Retry(max_attempts=3))
    async def two() -> None: ...

    match = r"two .*retry= is that of the event 'it', which all its subscribers share"
    with pytest.raises(RouteError, match=match), EventClient(app):
        pass


class Opened(App):
    """Its handlers keep their events open."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.open: list[Event[Any]] = []

        @self.on_event("it {n}", **options)
        async def it(event: Event, n: str) -> str:
            event.prevent_auto_done()
            self.open.append(event)
            if n == "bad":
                raise ValueError("raised")
            return n


def test_an_event_that_is_kept_open_is_settled_by_done() -> None:
    app = Opened()
    with EventClient(app) as events:
        events.publish("it 1", key="k")
        events.publish("it 2", key="k")
        events.run()
        events.run()
        assert [event.outcome for event in events.settled] == []
        assert len(app.open) == 1, "its key waits"
        app.open[0].done()
        app.open[0].done()
        events.run()
        assert [event.path for event in events.settled] == ["it 1"]
        app.open[1].done()
        events.run()
        assert not events.waiting


def test_an_event_that_is_kept_open_fails_by_fail() -> None:
    app = Opened(retry=Retry(max_attempts=2, first=5))
    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        app.open[0].fail(KeyError("a"))
        events.advance(5)
        assert events.attempts("it 1") == 2
        app.open[1].fail(KeyError("b"))
        events.run()
        assert [(letter.error, letter.text, letter.attempts) for letter in events.dead] == [("KeyError", "'b'", 2)]


def test_another_thread_settles_nothing() -> None:
    app = Opened()
    errors: list[BaseException] = []

    def settle() -> None:
        for wrong in (app.open[0].done, partial(app.open[0].fail, KeyError("a"))):
            try:
                wrong()
            except ListenerError as exc:
                errors.append(exc)

    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        thread = threading.Thread(target=settle)
        thread.start()
        thread.join()
        assert [str(error).count("loop.call_soon_threadsafe()") for error in errors] == [1, 1]
        app.open[0].done()
        events.run()
        assert [event.outcome for event in events.settled] == ["ok"]


def test_an_open_event_whose_handler_fails_has_failed() -> None:
    app = Opened()
    with EventClient(app) as events:
        events.publish("it bad")
        events.run()
        assert [letter.text for letter in events.dead] == ["raised"]
        app.open[0].done()  # too late
        events.run()
        assert len(events.dead) == 1


def test_an_open_event_comes_again_after_a_crash_and_its_end_says_nothing() -> None:
    app = Opened()
    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        events.crash_worker()
        app.open[0].done()
        events.run()
        assert len(app.open) == 2
        assert len(events.waiting) == 1
        app.open[1].done()
        events.run()
        assert [(event.outcome, event.attempts) for event in events.settled] == [("ok", 2)]


def test_an_event_publishes_others() -> None:
    app = App()
    seen: list[int] = []

    @app.on_event("count {n:int}")
    async def count(n: int) -> None:
        seen.append(n)
        if n:
            await app.publish(f"count {n - 1}", key="same")

    with EventClient(app) as events:
        events.publish("count 20", key="same")
        events.run()
    assert seen == [*range(20, -1, -1)]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"retry": 5}, r"retry must be a Retry, such as Retry\("),
        ({"retry": Retry}, "retry must be a Retry"),
        ({"concurrency": 0}, "concurrency must be a whole number from 1"),
        ({"concurrency": True}, "whole number"),
        ({"concurrency": 1.5}, "whole number"),
        ({"concurrency": 2**64}, "whole number"),
        ({"serial": 1}, "serial must be True or False"),
        ({"ack": "never"}, "ack must be 'after' or 'before'"),
        ({"ack": None}, "ack must be"),
        ({"dead_letter": "stop"}, "dead_letter must be 'next' or 'halt'"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"timeout": 10**400}, "timeout must be"),
        ({"retries": 1}, "did you mean 'retry'"),
        ({"max_attempts": 1}, "has no option 'max_attempts'"),
    ],
)
@pytest.mark.parametrize("way", ["on_event", "subscribe"])
def test_wrong_options(way: str, options: dict[str, Any], match: str) -> None:
    app = App()

    async def it() -> None: ...

    with pytest.raises(RouteError, match=match):
        getattr(app, way)("it", **options)(it)


@pytest.mark.parametrize("name", ["retry", "concurrency", "serial", "ack", "dead_letter"])
def test_a_route_of_requests_has_none_of_them(name: str) -> None:
    app = HTTPListener()
    good = {"retry": Retry(), "concurrency": 1, "serial": True, "ack": "after", "dead_letter": "next"}

    async def it() -> None: ...

    with pytest.raises(RouteError, match=rf"has no option '{name}', which is for published events: publish one"):
        app.get("/it", **{name: good[name]})(it)  # type: ignore[arg-type]
    app.on_event("it", **{name: good[name]})(it)  # type: ignore[arg-type]


def test_what_a_handler_leaves_running_does_not_hold_its_event() -> None:
    app = App()
    tasks: list[asyncio.Task[Any]] = []

    @app.on_event("it")
    async def it() -> None:
        tasks.append(asyncio.ensure_future(asyncio.Event().wait()))

    with EventClient(app) as events:
        events.publish("it")
        events.run()
        assert [event.outcome for event in events.settled] == ["ok"]
        tasks[0].cancel()
