"""Handlers that fail: who is asked what to do, and what is logged."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from tiny_listener import Context, Depends, Event, Listener


class App(Listener[Context]):
    async def listen(self) -> None:
        """Nothing to open."""


@pytest.fixture
def app() -> App:
    return App()


def test_error_handlers(app: App, runner: asyncio.Runner) -> None:
    seen: list[str] = []

    @app.on_error(ValueError)
    async def log(event: Event) -> None:
        seen.append(f"log {event.error!r}")

    @app.on_error(Exception)
    async def answer(event: Event) -> str:
        seen.append("answer")
        return "handled"

    @app.on_error(KeyError)
    async def other() -> str:
        raise AssertionError

    @app.after_event
    async def after() -> None:
        seen.append("after")

    @app.on_event("x")
    async def handler() -> None:
        raise ValueError("deliberate")

    async def main() -> None:
        task = app.trigger_event("x")
        assert await task == "handled"
        assert isinstance(task.event.error, ValueError)
        assert task.event.is_done

    runner.run(main())
    assert seen == ["log ValueError('deliberate')", "answer"]


def test_error_handlers_ask_for_the_error_by_its_class(app: App, runner: asyncio.Runner) -> None:
    seen: list[object] = []

    async def dependency(error: Exception) -> str:
        return f"failed: {error}"

    @app.on_error(ValueError)
    async def by_class(error: ValueError, other: KeyError | None, either: KeyError | ValueError) -> None:
        seen.extend([error, other, either])

    @app.on_error(Exception)
    async def by_dependency(text: str = Depends(dependency)) -> str:
        return text

    @app.on_event("x")
    async def handler() -> None:
        raise ValueError("deliberate")

    async def main() -> None:
        task = app.trigger_event("x")
        assert await task == "failed: deliberate"
        assert seen == [task.event.error, None, task.event.error]

    runner.run(main())


def test_an_unawaited_failure_is_logged_once(
    app: App, runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    @app.on_event("x {n}")
    async def handler() -> None:
        raise ValueError("deliberate")

    async def main() -> None:
        task = app.trigger_event("x 1")
        while app.lifecycle.running:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert task.done()

    gc.collect()  # what another test has left is logged now
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        runner.run(main())
        gc.collect()
    assert [r.getMessage().split(" (")[0] for r in caplog.records] == ["Event 'x {n}' failed in handler"]
    trace = logging.Formatter().formatException(caplog.records[0].exc_info)  # type: ignore[arg-type]
    assert "deliberate" in trace
    assert "dispatch.py" not in trace


@pytest.mark.parametrize("how", ["await", "gather", "wait_for", "wait"])
def test_an_awaited_failure_is_not_logged(
    app: App, runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    @app.on_event("x")
    async def handler() -> None:
        raise ValueError("deliberate")

    async def main() -> None:
        task = app.trigger_event("x")
        if how == "wait":
            await asyncio.wait([task])
            assert isinstance(task.exception(), ValueError)
            return
        with pytest.raises(ValueError, match="deliberate"):
            await {"await": lambda: task, "gather": lambda: asyncio.gather(task)}.get(
                how, lambda: asyncio.wait_for(task, 5)
            )()

    with caplog.at_level(logging.ERROR):
        runner.run(main())
        gc.collect()
    assert not caplog.records
