"""What bounds a shutdown, and what an application raises that leaves the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tiny_listener import (
    Listener,
)
from tiny_listener.core import lifecycle
from tiny_listener.net.loop import AsyncioLoop, new_event_loop
from tiny_listener.process.last_resort import exit_code_of


class Bounded(Listener):
    """One that leaves as soon as it listens, on a loop of the test's choice."""

    loop: Callable[[], asyncio.AbstractEventLoop] = new_event_loop

    def setup_event_loop(self) -> asyncio.AbstractEventLoop:
        return type(self).loop()

    async def listen(self) -> None:
        asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self.graceful_shutdown()))


class BoundedOnAsyncio(Bounded):
    loop = AsyncioLoop


BOTH = pytest.mark.parametrize("cls", [Bounded, BoundedOnAsyncio], ids=["uvloop", "asyncio"])


async def _deaf(until: asyncio.Event) -> None:
    while not until.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await until.wait()


@BOTH
def test_shutdown_callbacks_share_the_graceful_timeout_and_each_has_a_moment(
    cls: type[Bounded], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "CALLBACK", 1.0)  # on a busy machine the short one needs more than a moment
    monkeypatch.setattr(lifecycle, "CALLBACKS", 3.0)
    app = cls()
    app.host.graceful_timeout = 0.05
    seen: list[str] = []

    @app.shutdown
    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    @app.shutdown
    async def deaf() -> None:
        await _deaf(asyncio.Event())

    @app.shutdown
    async def short() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        seen.append("short")

    app.run()
    assert seen == ["cancelled", "short"]
    assert "Shutdown callback waits exceeded the graceful timeout: cancelling it" in caplog.text
    assert "Shutdown callback deaf exceeded" in caplog.text
    assert "Left behind after the graceful timeout: task 'shutdown callback deaf', in " in caplog.text
    assert "deaf (test_bounded_shutdown.py:" in caplog.text


@BOTH
def test_a_shutdown_callback_has_what_is_left_of_the_graceful_timeout(
    cls: type[Bounded], caplog: pytest.LogCaptureFixture
) -> None:
    app = cls()
    app.host.graceful_timeout = 60
    seen: list[str] = []

    @app.shutdown
    async def takes_longer_than_a_moment() -> None:
        await asyncio.sleep(3 * lifecycle.CALLBACK)
        seen.append("done")

    app.run()
    assert seen == ["done"]
    assert caplog.text == ""


@BOTH
@pytest.mark.parametrize("error", [GeneratorExit, SystemExit, KeyboardInterrupt, asyncio.CancelledError, ValueError])
def test_a_shutdown_callback_that_raises_does_not_stop_the_others(
    cls: type[Bounded], error: type[BaseException]
) -> None:
    app = cls()
    seen: list[str] = []

    @app.shutdown
    async def fails() -> None:
        raise error

    @app.shutdown
    async def last() -> None:
        seen.append("last")

    app.run()
    assert seen == ["last"]


@BOTH
def test_a_thread_of_the_default_executor_is_left_behind(cls: type[Bounded], caplog: pytest.LogCaptureFixture) -> None:
    app = cls()
    app.host.graceful_timeout = 0.05
    release = threading.Event()

    @app.on_event("blocks")
    async def blocks() -> None:
        await asyncio.to_thread(release.wait)

    @app.startup
    async def start() -> None:
        app.trigger_event("blocks")

    try:
        app.run()
    finally:
        release.set()
    assert "Cancelled after the graceful timeout of 0.05 s: event 'blocks'" in caplog.text
    assert "Left behind after the graceful timeout: a thread of the default executor" in caplog.text


@BOTH
def test_a_thread_of_the_default_executor_has_what_is_left_of_the_graceful_timeout(
    cls: type[Bounded], caplog: pytest.LogCaptureFixture
) -> None:
    app = cls()
    app.host.graceful_timeout = 60
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        release.wait()
        ended.set()

    @app.startup
    async def start() -> None:
        asyncio.get_running_loop().run_in_executor(None, work)

    @app.shutdown
    async def last() -> None:
        threading.Timer(0.5, release.set).start()

    app.run()
    assert ended.is_set()
    assert caplog.text == ""


async def _raise(error: BaseException) -> None:
    raise error


async def _raise_when_cancelled(error: BaseException) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await _raise(error)


def _leave_by(how: str, error: BaseException) -> asyncio.Future[None] | None:
    """Let something leave the loop that runs; return the task that does, if one does."""

    def fail() -> None:
        raise error

    loop = asyncio.get_running_loop()
    if how == "task":
        return asyncio.ensure_future(_raise(error))
    if how == "task that is cancelled":
        task = asyncio.ensure_future(_raise_when_cancelled(error))
        loop.call_later(0.01, task.cancel)
        return task
    if how == "callback":
        loop.call_soon(fail)
    elif how == "timer":
        loop.call_later(0.01, fail)
    else:
        fail()
    return None


@BOTH
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("how", ["task", "task that is cancelled", "callback", "timer", "listen"])
def test_what_leaves_the_loop_is_raised_when_all_has_finished(
    cls: type[Bounded], how: str, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    error = kind(7)

    async def listen() -> None:
        app.trigger_event("slow")
        left.append(_leave_by(how, error))

    app, left = cls(), list[Any]()
    app.listen = listen  # type: ignore[method-assign]
    app.host.graceful_timeout = 20

    @app.on_event("slow")
    async def slow() -> None:
        for _ in range(10):
            await asyncio.sleep(0.01)
        seen.append("slow")

    @app.shutdown
    async def last() -> None:
        seen.append("last")

    with pytest.raises(kind) as caught:
        app.run()
    assert caught.value is error
    assert seen == ["slow", "last"]
    assert f"draining, then exit code {exit_code_of(error)}" in caplog.text


@BOTH
def test_a_boot_that_is_cut_off_still_runs_the_shutdown_callbacks(cls: type[Bounded]) -> None:
    app = cls()
    app.host.graceful_timeout = 600
    seen: list[str] = []

    @app.startup
    async def hangs() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    @app.startup
    async def never() -> None:
        seen.append("never")

    @app.shutdown
    async def last() -> None:
        seen.append("last")

    app.run()
    assert seen == ["cancelled", "last"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SystemExit(), 0), (SystemExit(None), 0), (SystemExit(0), 0), (SystemExit(7), 7), (SystemExit(-1), 255),
        (SystemExit("text"), 1), (SystemExit(256), 0), (KeyboardInterrupt(), 1), (ValueError(), 1),
    ],
)  # fmt: skip
def test_exit_codes_are_those_of_the_interpreter(error: BaseException, code: int) -> None:
    assert exit_code_of(error) == code
