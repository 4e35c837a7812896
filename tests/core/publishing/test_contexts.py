"""Contexts of published events: what a handler that waits gets."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.publishing.running import App
from tiny_listener import Event, Retry
from tiny_listener.core.publishing import contexts
from tiny_listener.testing import EventClient


@settings(max_examples=40)
@given(
    failures=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    waits_first=st.booleans(),
    is_subscriber=st.booleans(),
    suspends=st.booleans(),
)
def test_a_failed_attempt_is_not_waited_for(
    failures: list[int], waits_first: bool, is_subscriber: bool, suspends: bool
) -> None:
    app = App()
    results: list[Any] = []
    register = app.subscribe if is_subscriber else app.on_event

    @register("part {n:int}", retry=Retry(max_attempts=5, first=1))
    async def part(event: Event, n: int) -> int:
        if suspends:
            await asyncio.sleep(0)
        if event.attempt <= failures[n]:
            raise ValueError
        return n

    if is_subscriber:

        @app.subscribe("part {n:int}")
        async def other(n: int) -> None:
            await asyncio.sleep(0)

    @app.on_event("all")
    async def all_of_them(event: Event) -> None:
        results.extend(await event.wait_event_done("part", n=len(failures)))
        assert all(one.error is None for one in event.ctx.events[event.listener.get_route("part")])

    with EventClient(app) as events:
        if waits_first:
            events.publish("all", cid="c")
        for n in range(len(failures)):
            events.publish(f"part {n}", cid="c")
            events.run()
        if not waits_first:
            events.publish("all", cid="c")
        events.run()
        events.advance(100)
        assert events.dead == []
    assert sorted(results) == list(range(len(failures)))


def test_the_last_failure_is_waited_for() -> None:
    app = App()
    results: list[Any] = []

    @app.on_event("part", retry=Retry(max_attempts=2))
    async def part() -> None:
        raise ValueError

    @app.on_event("all")
    async def all_of_them(event: Event) -> None:
        results.append(await event.wait_event_done("part"))

    with EventClient(app) as events:
        events.publish("part", cid="c")
        events.run()
        events.publish("all", cid="c")
        events.run()
        assert results == []
        events.advance(100)
    assert results == [[None]]


def test_subscribers_wait_for_each_other_and_not_for_the_next_attempt() -> None:
    app = App()
    seen: list[Any] = []

    @app.subscribe("it", retry=Retry(max_attempts=2))
    async def one(event: Event) -> str:
        if event.attempt == 1:
            raise ValueError
        return "done"

    @app.subscribe("it")
    async def two(event: Event) -> None:
        seen.append(await event.wait_event_done("one"))

    with EventClient(app) as events:
        events.publish("it", cid="c")
        events.run()
        events.advance(100)
        assert events.dead == []
    assert seen == [[None], ["done"]]


class Counting(App):
    """Each context counts its events. One that is held is done when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[str, list[Event]] = defaultdict(list)

        @self.on_event("count")
        async def count(event: Event) -> None:
            event.ctx.scope["n"] = event.ctx.scope.get("n", 0) + 1

        @self.on_event("hold")
        async def hold(event: Event) -> None:
            event.prevent_auto_done()
            self.open[event.ctx.cid].append(event)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "MAX_CONTEXTS", 5)
    monkeypatch.setattr(contexts, "MAX_EVENTS", 20)


CIDS = [f"c{n}" for n in range(12)]


@pytest.mark.usefixtures("few")
@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(["count", "count", "hold", "done", "wait"]), st.sampled_from(CIDS)), max_size=60)
)
def test_contexts_stay_while_they_are_used_and_are_few(steps: list[tuple[str, str]]) -> None:
    app = Counting()
    with EventClient(app) as events:
        app.new_ctx("c0")  # the application's own
        for step, cid in steps:
            if step == "wait":
                events.advance(200)
            elif step == "done":
                for event in app.open.pop(cid, []):
                    event.done()
            else:
                events.publish(step, cid=cid)
            events.run()
            assert set(app.open) | {"c0"} <= set(app.ctxs)
            assert len(app.ctxs) <= 5 + 1 + len(app.open)
        for cid in list(app.open):
            for event in app.open.pop(cid):
                event.done()
        events.advance(301)
        for _ in range(4):  # a few go with each event that comes
            events.publish("count", cid="last")
            events.run()
        assert set(app.ctxs) == {"c0", "last"}


@pytest.mark.usefixtures("few")
def test_a_context_keeps_its_last_events_and_those_that_are_not_done() -> None:
    app = Counting()
    with EventClient(app) as events:
        events.publish("hold", cid="c")
        for n in range(100):
            events.publish("count", cid="c")
            events.run()
            ctx = app.get_ctx("c")
            assert ctx.scope["n"] == n + 1
            assert min(n + 1, 18) <= len(ctx.events[app.get_route("count")]) <= 20
        assert ctx.events[app.get_route("hold")] == app.open["c"]
        app.open["c"][0].done()


@pytest.mark.usefixtures("few")
def test_a_context_that_was_dropped_begins_anew() -> None:
    app = Counting()
    with EventClient(app) as events:
        for n in range(20):
            events.publish("count", cid="c")
            events.run()
            assert app.get_ctx("c").scope == {"n": 1}
            if n % 2:
                app.get_ctx("c").drop()
            else:
                app.get_ctx("c").drop()
                app.new_ctx("c")
                events.advance(400)
                events.publish("hold", cid=f"other {n}")
                events.run()
                assert "c" in app.ctxs, "this one is the application's"
                app.get_ctx("c").drop()
        for held in app.open.values():
            held[0].done()
