"""Code around the life of a listener."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from tiny_listener import Listener
from tiny_listener.http import HTTPListener
from tiny_listener.http.testing import TestClient

log: list[str] = []
variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    log.clear()


def test_it_surrounds_the_life_of_the_listener_in_one_task() -> None:
    app = HTTPListener()

    @app.lifespan
    async def first(listener: Listener[Any]) -> AsyncIterator[dict[str, str]]:
        assert listener is app
        log.append("open first")
        task = asyncio.current_task()
        variable.set("set")
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
            background = tasks.create_task(asyncio.Event().wait())
            yield {"db": "connected"}
            background.cancel()
        assert asyncio.current_task() is task
        log.append("close first")

    @app.startup
    async def startup() -> None:
        log.append(f"startup, {app.state.db}, {variable.get()}")

    @app.lifespan
    @contextlib.asynccontextmanager
    async def second() -> AsyncIterator[None]:
        log.append("open second")
        yield
        log.append("close second")

    @app.shutdown
    async def shutdown() -> None:
        log.append("shutdown")

    @app.get("/")
    async def home() -> str:
        return f"{app.state.db}, {variable.get()}"

    with TestClient(app) as client:
        assert client.get("/").text == "connected, set"
        assert log == ["open first", "startup, connected, set", "open second"]
    assert log[3:] == ["shutdown", "close second", "close first"]


def test_a_failure_before_the_yield_ends_the_boot() -> None:
    app = HTTPListener()

    @app.lifespan
    async def fails() -> AsyncIterator[None]:
        if not log:
            raise ValueError("no database")
        yield

    with pytest.raises(ValueError, match="no database"), TestClient(app):
        raise AssertionError


def test_a_failure_after_the_yield_is_logged_and_the_others_are_left(caplog: pytest.LogCaptureFixture) -> None:
    app = HTTPListener()

    @app.lifespan
    async def first() -> AsyncIterator[None]:
        yield
        log.append("close first")

    @app.lifespan
    async def fails() -> AsyncIterator[None]:
        yield
        raise ValueError("deliberate")

    with TestClient(app):
        pass
    assert log == ["close first"]
    assert "Shutdown callback fails failed" in caplog.text


def test_one_that_never_ends_is_cut_off_by_the_graceful_timeout(caplog: pytest.LogCaptureFixture) -> None:
    app = HTTPListener()
    app.host.graceful_timeout = 0.01

    @app.lifespan
    async def endless() -> AsyncIterator[None]:
        yield
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")

    with TestClient(app):
        pass
    assert "Shutdown callback endless exceeded the graceful timeout" in caplog.text
    assert log == ["cancelled"]


def test_a_listener_that_runs_twice_enters_it_twice() -> None:
    app = HTTPListener()

    @app.lifespan
    async def first() -> AsyncIterator[None]:
        log.append("open")
        yield
        log.append("close")

    for _ in range(2):
        with TestClient(app):
            pass
    assert log == ["open", "close"] * 2


async def coroutine() -> None: ...
async def two(one: Any, other: Any) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (coroutine, "coroutine .*is no lifespan: write an async generator .*that yields once, or @asynccontextmanager"),
        (3, "3 is no lifespan"),
        (two, "two .*has more than one argument"),
    ],
)
def test_what_is_no_lifespan(fn: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        HTTPListener().lifespan(fn)


def test_what_returns_no_context_manager() -> None:
    app = HTTPListener()

    @app.lifespan  # type: ignore[type-var]
    def wrong() -> int:
        return 3

    with pytest.raises(TypeError, match=r"wrong .*returned int, not an async context manager"), TestClient(app):
        raise AssertionError
