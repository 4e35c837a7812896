"""Requests: an event whose result somebody waits for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.publishing.running import App, running, until
from tiny_listener import Event, Reject, RemoteError, Retry, WouldDeadlock
from tiny_listener.testing import EventClient


class Asked(App):
    def __init__(self) -> None:
        super().__init__()
        self.results: list[Any] = []
        self.attempts = 0

        @self.on_event("add {a:int} {b:int}")
        async def add(a: int, b: int) -> int:
            return a + b

        @self.on_event("nothing")
        async def nothing() -> None: ...

        @self.on_event("fail", retry=Retry(max_attempts=2, first=0))
        async def fail(event: Event) -> str:
            self.attempts = event.attempt
            raise ValueError("no" * 9999)

        @self.on_event("late", retry=Retry(max_attempts=2, first=0))
        async def late(event: Event) -> int:
            if event.attempt == 1:
                raise ValueError
            return event.attempt

        @self.on_event("reject")
        async def reject() -> None:
            raise Reject("never")

        @self.on_event("odd")
        async def odd() -> Any:
            return self.results.pop()

        @self.on_event("stuck")
        async def stuck() -> None:
            await asyncio.Event().wait()

        @self.on_event("call/{key}/{path:path}")
        async def call(key: str, path: str) -> Any:
            return await self.request(path, key=key, timeout=5)

        @self.on_event("free/{key}/{path:path}", serial=False)
        async def free(key: str, path: str) -> Any:
            return await self.request(path, key=key, timeout=5)


@pytest.fixture
def app() -> Asked:
    return Asked()


def test_results(app: Asked) -> None:
    with EventClient(app) as events:
        assert events.request("add 1 2") == 3
        assert events.request("add 1 2", key="k") == 3
        assert events.request("nothing") is None
        assert events.request(app.event("add {a:int} {b:int}", a=1, b=-5)) == -4


def test_retries_come_first(runner: asyncio.Runner, app: Asked) -> None:
    async def main() -> None:
        async with running(app):
            assert await app.request("late", timeout=10) == 2
            with pytest.raises(RemoteError, match="ValueError: nono") as caught:
                await app.request("fail", timeout=10)
            assert len(str(caught.value)) < 5000
            assert app.attempts == 2
            with pytest.raises(RemoteError, match="Reject: never"):
                await app.request("reject")

    runner.run(main())


@pytest.mark.parametrize("result", [object(), b"bytes", "\ud800"])
def test_a_result_that_cannot_be_sent(app: Asked, result: object) -> None:
    app.results = [result]
    with EventClient(app) as events:
        with pytest.raises(RemoteError, match=r"TypeError|ValueError"):
            events.request("odd")
        assert len(events.dead) == 1
        app.results = [result]
        events.publish("odd")  # nobody waits for this one
        events.run()
        assert len(events.dead) == 1


def test_a_result_that_does_not_come_in_time(runner: asyncio.Runner, app: Asked) -> None:

    async def main() -> None:
        async with running(app, graceful_timeout=0.01):
            for _ in range(3):
                with pytest.raises(TimeoutError, match=r"'stuck' was not handled within 0\.02 s"):
                    await app.request("stuck", key="k", timeout=0.02)
            # Those behind the first have expired by the time that they could begin, and nothing is left of them.
            engine = app.service.engine
            (stuck,) = (entry for entry in engine.state.entries.values() if entry.slot is not None)
            assert stuck.envelope.path == "stuck"
            assert app.publisher is not None
            assert not app.publisher.consumer.client._requests
            app.event_pool.cancel(lambda _: True)
            await until(lambda: not engine.state.entries)
            assert not engine.admission._requests
            assert engine.state.counters.of("stuck").settled == {"dead": 1, "expired": 2}

    runner.run(main())


def test_what_would_wait_for_itself_is_refused(app: Asked) -> None:
    with EventClient(app) as events:
        with pytest.raises(RemoteError, match=r"WouldDeadlock: the key 'a' is held .*'a' -> 'a'"):
            events.request("call/a/add 1 2", key="a")
        with pytest.raises(RemoteError, match=r"RemoteError: WouldDeadlock: .*'a' -> 'b' -> 'a'"):
            events.request("call/b/call/a/add 1 2", key="a")
        assert events.request("call/b/call/c/add 1 2", key="a") == 3
        assert events.request("free/a/add 1 2", key="a") == 3
        assert events.request("call/a/free/a/nothing", key="b") is None


def test_the_error_itself(app: Asked) -> None:
    caught: list[BaseException] = []

    @app.on_event("ask")
    async def ask() -> None:
        try:
            await app.request("nothing", key="k")
        except WouldDeadlock as exc:
            caught.append(exc)
        assert await app.request("nothing") is None
        await app.publish("nothing", key="k")

    with EventClient(app) as events:
        events.publish("ask", key="k")
        events.run()
        assert events.dead == []
        assert [event.outcome for event in events.settled] == ["ok"] * 3
    assert "publish() does not wait" in str(caught[0])


def test_wrong_timeouts(app: Asked) -> None:
    with EventClient(app) as events:
        for timeout in (0, -1, float("inf")):
            with pytest.raises(ValueError, match="timeout="):
                events.request("nothing", timeout=timeout)
        assert not events.settled


class Unsendable:
    """Fails while it is encoded, as a model of pydantic may."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def model_dump(self, *, mode: str) -> None:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("boom"), AttributeError("x"), KeyError("x"), StopIteration()])
def test_a_result_whose_encoding_fails_fails_its_event_and_not_its_key(error: Exception) -> None:
    app = App()

    @app.on_event("odd")
    async def odd() -> Any:
        await asyncio.sleep(0)
        return Unsendable(error)

    @app.on_event("next")
    async def following() -> int:
        return 7

    with EventClient(app) as events:
        with pytest.raises(RemoteError, match=type(error).__name__):
            events.request("odd", key="k")
        assert events.request("next", key="k") == 7


def test_a_task_that_a_handler_left_running_holds_no_key(runner: asyncio.Runner) -> None:
    app = App()
    answers: list[Any] = []
    tasks: list[asyncio.Task[Any]] = []

    async def later(done: asyncio.Event) -> None:
        await done.wait()
        answers.append(await app.request("answer", key="k", timeout=10))

    @app.on_event("leave")
    async def leave(event: Event) -> None:
        done = asyncio.Event()
        tasks.append(asyncio.ensure_future(later(done)))
        asyncio.get_running_loop().call_later(0.01, done.set)

    @app.on_event("answer")
    async def answer() -> int:
        return 7

    async def main() -> None:
        async with running(app):
            await app.publish("leave", key="k")
            await until(lambda: tasks)
            await tasks[0]
        assert answers == [7]

    runner.run(main())


@settings(max_examples=30)
@given(size=st.integers(-40, 40), limit=st.sampled_from([1000, 5000]))
def test_a_result_is_as_large_as_an_event_may_be(size: int, limit: int) -> None:
    app = App()
    calls = []

    @app.on_event("large", retry=Retry(max_attempts=3))
    async def large() -> str:
        calls.append(1)
        return "x" * (limit + size - 2)  # and two quotes

    async def main() -> None:
        async with running(app, max_event=limit):
            if size <= 0:
                assert len(await app.request("large", key="k", timeout=10)) == limit + size - 2
                return
            words = rf"^EventTooLarge: the result of 'large' has {limit + size} bytes, and at most {limit} are allowed"
            with pytest.raises(RemoteError, match=words):
                await app.request("large", key="k", timeout=10)
            assert [letter.reason for letter in app.service.store.dead_letters()] == ["attempts"]

    asyncio.run(main())
    assert len(calls) == 1
