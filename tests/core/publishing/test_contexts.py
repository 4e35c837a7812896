"""Contexts of published events: what a handler that waits gets."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.publishing.running import App
from tiny_listener import Event, Retry
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
