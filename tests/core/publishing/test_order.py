"""The order of events of one key, concurrency, and the order of publishing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.publishing.running import App, running, until
from tiny_listener import Event, Publication
from tiny_listener.testing import EventClient


class Counted(App):
    """Counts what runs at the same time, by key."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.seen: dict[str | None, list[str]] = defaultdict(list)
        self.now: dict[str | None, int] = defaultdict(int)
        self.most: dict[str | None, int] = defaultdict(int)

        @self.on_event("it {n}", **options)
        async def it(event: Event, n: str) -> None:
            for key in {event.key, "all"}:
                self.now[key] += 1
                self.most[key] = max(self.most[key], self.now[key])
            for _ in range(int(n) % 3):
                await asyncio.sleep(0)
            self.seen[event.key].append(n)
            for key in {event.key, "all"}:
                self.now[key] -= 1

    @property
    def number(self) -> int:
        return sum(map(len, self.seen.values()))


@pytest.mark.parametrize("on_disk", [False, True])
def test_events_of_a_key_run_one_at_a_time_in_the_order_of_their_calls(
    runner: asyncio.Runner, tmp_path: Path, on_disk: bool
) -> None:
    app = Counted()

    async def main() -> None:
        async with running(app, tmp_path if on_disk else None):
            for n in range(300):
                stored = app.publish(f"it {n}", key=n % 7)  # not awaited, but the last
            await stored
            await until(lambda: app.number == 300)

    runner.run(main())
    for key in range(7):
        assert app.seen[str(key)] == [str(n) for n in range(300) if n % 7 == key]
        assert app.most[str(key)] == 1
    assert app.most["all"] > 1, "other keys run at the same time"


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "é"]), st.integers(0, 99)), max_size=30))
@settings(max_examples=25)
def test_order_holds_whatever_is_published(events: list[tuple[str, int]]) -> None:
    app = Counted()
    with EventClient(app) as client:
        for key, n in events:
            client.publish(f"it {n}", key=key)
        client.run()
        assert not client.waiting
    for key in ("a", "b", "é"):
        assert app.seen[key] == [str(n) for k, n in events if k == key]
        assert app.most[key] <= 1


def test_events_that_are_not_serial_run_at_the_same_time(runner: asyncio.Runner) -> None:
    app = Counted(serial=False)

    async def main() -> None:
        async with running(app):
            await app.publish_many([Publication(f"it {n}", key="k") for n in range(50)])
            await until(lambda: app.number == 50)

    runner.run(main())
    assert app.most["k"] > 1


@pytest.mark.parametrize(("options", "window", "most"), [({"concurrency": 2}, 100, 2), ({}, 3, 3)])
def test_concurrency(runner: asyncio.Runner, options: dict[str, Any], window: int, most: int) -> None:
    app = App()
    gate = asyncio.Event()
    now = ended = highest = 0

    @app.on_event("it", **options)
    async def it() -> None:
        nonlocal now, ended, highest
        now += 1
        highest = max(highest, now)
        await gate.wait()
        now, ended = now - 1, ended + 1

    async def main() -> None:
        async with running(app, concurrency=window):
            await app.publish_many([Publication("it") for _ in range(20)])
            await until(lambda: now == most)
            gate.set()
            await until(lambda: ended == 20)

    runner.run(main())
    assert highest == most


def test_publish_many_keeps_the_order_and_reports_duplicates() -> None:
    app = Counted()

    with EventClient(app) as events:

        async def several() -> list[tuple[str, bool]]:
            stored = await app.publish_many([Publication(f"it {n}", key="k", id=f"i{n % 4}") for n in range(6)])
            assert await app.publish_many([]) == []
            return [(one.id, one.duplicate) for one in stored]

        assert events._do(several()) == [
            ("i0", False), ("i1", False), ("i2", False), ("i3", False), ("i0", True), ("i1", True),
        ]  # fmt: skip
        events.run()
    assert app.seen["k"] == ["0", "1", "2", "3"]


def test_an_id_is_remembered_for_two_minutes() -> None:
    app = Counted()
    with EventClient(app) as events:
        assert not events.publish("it 1", id="one").duplicate
        assert events.publish("it 2", id="one").duplicate
        events.run()
        events.advance(119)
        assert events.publish("it 3", id="one").duplicate, "settled, and still known"
        events.advance(1)
        assert not events.publish("it 4", id="one").duplicate
        events.run()
    assert app.seen[None] == ["1", "4"]


def test_delayed_events_take_their_place_when_they_fall_due() -> None:
    import datetime as dt

    app = Counted()
    with EventClient(app) as events:
        at = dt.datetime.fromtimestamp(events.now + 20, dt.UTC)
        events.publish("it 1", key="k", at=at)
        events.publish("it 2", key="k", delay=dt.timedelta(seconds=10))
        events.publish("it 3", key="k", delay=10)
        events.publish("it 4", key="k")
        events.publish("it 5", key="k", delay=0)
        events.publish("it 6", key="k", at=events.now - 5)
        events.run()
        assert app.seen["k"] == ["4", "5", "6"]
        events.advance(9.999)
        assert app.seen["k"] == ["4", "5", "6"]
        events.advance(0.001)
        assert app.seen["k"] == ["4", "5", "6", "2", "3"]
        events.publish("it 7", key="k", delay=10)
        events.advance(10)
    assert app.seen["k"] == ["4", "5", "6", "2", "3", "1", "7"]


def test_what_a_handler_is_told() -> None:
    app = App()
    told: list[Any] = []

    @app.on_event("it {n:int}")
    async def it(event: Event) -> None:
        told.append((event.id, event.key, event.attempt, event.redelivered, event.published_at, event.attributes))

    with EventClient(app) as events:
        stored = events.publish("it 1", key=5, attributes={"traceparent": "00-1"})
        events.run()
        assert told == [(stored.id, "5", 1, False, events.now, {"traceparent": "00-1"})]

        async def local() -> None:
            await app.trigger_event("it 2")

        events._do(local())
    assert told[1] == (None, None, 1, False, None, {})
