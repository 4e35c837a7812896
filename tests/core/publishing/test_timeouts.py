"""Handlers that catch the cancellation by which their timeout ends them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.publishing.running import App
from tiny_listener import Listener, Retry
from tiny_listener.http import HTTPListener
from tiny_listener.http.testing import TestClient
from tiny_listener.testing import EventClient


async def catch(value: str) -> str:
    """Wait too long, and return a value nevertheless."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return value


@settings(max_examples=20)
@given(late=st.lists(st.booleans(), max_size=4), most=st.integers(1, 5), is_subscriber=st.booleans())
def test_such_an_attempt_of_a_published_event_has_failed(late: list[bool], most: int, is_subscriber: bool) -> None:
    app = App()
    left = late.copy()

    @(app.subscribe if is_subscriber else app.on_event)("it", timeout=0.001, retry=Retry(max_attempts=most))
    async def it() -> str:
        return await catch("late") if left and left.pop(0) else "in time"

    with EventClient(app) as events:
        events.publish("it")
        events.run()
        events.advance(1000)
        failures = [*late, False].index(False)
        if failures < most:
            assert [(event.outcome, event.attempts) for event in events.settled] == [("ok", failures + 1)]
        else:
            assert [(one.reason, one.error, one.attempts) for one in events.dead] == [
                ("attempts", "TimeoutError", most)
            ]


def test_such_a_triggered_event_has_failed(runner: asyncio.Runner) -> None:
    app: Listener[Any] = App()

    @app.on_event("it", timeout=0.001)
    async def it() -> str:
        return await catch("late")

    async def main() -> None:
        task = app.trigger_event("it")
        with pytest.raises(TimeoutError):
            await task
        assert (task.event.outcome, task.event.result) == ("timeout", None)
        assert isinstance(task.event.error, TimeoutError)

    runner.run(main())


def test_such_a_request_is_answered_with_504() -> None:
    app = HTTPListener()

    @app.get("/", timeout=0.001)
    async def it() -> str:
        return await catch("late")

    with TestClient(app) as client:
        assert client.get("/").status_code == 504
