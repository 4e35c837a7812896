"""Dependencies: when they run, how often, and how they are cleaned up, for events that come from no request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tiny_listener import Depends, Event, HandlerExit, Listener, Param


class App(Listener):
    async def listen(self) -> None:
        """Nothing to open."""


log: list[str] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    log.clear()


def resource(name: str) -> Any:
    async def depend_on_it() -> AsyncIterator[str]:
        log.append(f"open {name}")
        try:
            yield name
        except BaseException as exc:
            log.append(f"{name} sees {type(exc).__name__}")
            raise
        finally:
            await asyncio.sleep(0)
            log.append(f"close {name}")

    depend_on_it.__name__ = name
    return depend_on_it


first, second = resource("first"), resource("second")


def test_generators_are_closed_in_reverse_order_after_the_event() -> None:
    app = App()

    @app.after_event
    async def after() -> None:
        log.append("after")

    @app.on_event("x")
    async def handler(a: str = Depends(first), b: str = Depends(second), again: str = Depends(first)) -> str:
        log.append("handler")
        return a + b + again

    async def main() -> None:
        assert await app.trigger_event("x") == "firstsecondfirst"

    asyncio.run(main())
    assert log == ["open first", "open second", "handler", "after", "close second", "close first"]


@pytest.mark.parametrize("where", ["handler", "before", "after", "dependency"])
@pytest.mark.parametrize("how", [ValueError, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_they_see_the_exception_wherever_it_is_raised(where: str, how: type[BaseException]) -> None:
    app = App()

    def fail(here: str) -> None:
        if here == where:
            raise how("deliberate")

    async def failing(a: str = Depends(first)) -> str:
        fail("dependency")
        return a

    @app.before_event
    async def before(a: str = Depends(first)) -> None:
        fail("before")

    @app.after_event
    async def after() -> None:
        fail("after")

    @app.on_event("x")
    async def handler(a: str = Depends(first), b: str = Depends(failing)) -> None:
        fail("handler")

    async def main() -> None:
        task = app.trigger_event("x")
        await asyncio.wait({task})
        with pytest.raises((HandlerExit, asyncio.CancelledError, how)):
            task.result()

    asyncio.run(main())
    assert log == ["open first", f"first sees {how.__name__}", "close first"]


def test_they_are_closed_on_timeout_and_cancellation() -> None:
    app = App()

    @app.on_event("slow", timeout=0.01)
    async def slow(a: str = Depends(first)) -> None:
        await asyncio.Event().wait()

    @app.on_event("endless")
    async def endless(a: str = Depends(second)) -> None:
        begun.set()
        await asyncio.Event().wait()

    begun = asyncio.Event()

    async def main() -> None:
        task = app.trigger_event("slow")
        with pytest.raises(TimeoutError):
            await task
        assert task.event.outcome == "timeout"
        other = app.trigger_event("endless")
        await begun.wait()
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other

    asyncio.run(main())
    assert log == [
        "open first", "first sees TimeoutError", "close first",
        "open second", "second sees CancelledError", "close second",
    ]  # fmt: skip


def test_an_error_handler_answers_and_the_generator_sees_the_error_nevertheless() -> None:
    app = App()

    @app.on_error(ValueError)
    async def handle() -> str:
        return "handled"

    @app.on_event("x")
    async def handler(a: str = Depends(first)) -> None:
        raise ValueError

    async def main() -> None:
        assert await app.trigger_event("x") == "handled"

    asyncio.run(main())
    assert log[1:] == ["first sees ValueError", "close first"]


def test_a_cleanup_that_fails_is_logged_and_the_others_run(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise RuntimeError("deliberate")

    async def twice() -> AsyncIterator[int]:
        yield 1
        yield 2

    @app.on_event("x")
    async def handler(a: str = Depends(first), b: int = Depends(broken), c: int = Depends(twice)) -> str:
        return "ok"

    async def main() -> None:
        assert await app.trigger_event("x") == "ok"

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert log == ["open first", "close first"]
    texts = [f"{record.getMessage()}: {record.exc_info[1]}" for record in caplog.records if record.exc_info]
    assert "The cleanup of the dependency twice" in texts[0]
    assert "yielded twice" in texts[0]
    assert "The cleanup of the dependency broken" in texts[1]
    assert "deliberate" in texts[1]


def test_a_generator_that_yields_nothing_fails_the_event() -> None:
    app = App()

    async def empty() -> AsyncIterator[int]:
        if log:
            yield 1

    @app.on_event("x")
    async def handler(a: int = Depends(empty)) -> None:
        """Never called."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"empty .* is a dependency that ended without `yield`"):
            await app.trigger_event("x")

    asyncio.run(main())


@pytest.mark.parametrize(("use_cache", "calls"), [(True, 2), (False, 4), ("context", 1)])
def test_results_are_cached_for_one_event(use_cache: Any, calls: int) -> None:
    app = App()

    async def count() -> int:
        log.append("call")
        return len(log)

    @app.on_event("x")
    async def handler(
        a: int = Depends(count, use_cache=use_cache), b: int = Depends(count, use_cache=use_cache)
    ) -> tuple[int, int]:
        return a, b

    async def main() -> None:
        for _ in range(2):
            await app.trigger_event("x", cid="a conversation")

    asyncio.run(main())
    assert len(log) == calls


def test_the_kinds_of_mistakes() -> None:
    async def good() -> int:
        return 1

    with pytest.raises(TypeError, match=r"Depends\(good\(\)\) depends on one call of it: write Depends\(good\), with"):
        Depends(good())  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"to_thread.*\(\.\.\.\)"):
        Depends(lambda: 1)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match='use_cache must be True, False or "context", not 7'):
        Depends(good, use_cache=7)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"depend_on_it .*yields, so its value ends with its event"):
        Depends(first, use_cache="context")


def test_a_dependency_is_replaced_for_a_test() -> None:
    app = App()

    async def real(name: Param) -> str:
        return f"real {name}"

    async def fake(name: str) -> str:
        return f"fake {name}"

    async def fake_resource(name: str) -> AsyncIterator[str]:
        yield f"fake {name}"
        log.append("cleaned up")

    @app.on_event("x {name}")
    async def handler(event: Event, value: str = Depends(real)) -> str:
        return value

    async def main() -> None:
        with app.override(real, fake):
            assert await app.trigger_event("x bob") == "fake bob"
            with app.override(real, fake_resource):
                assert await app.trigger_event("x bob") == "fake bob"
            assert log == ["cleaned up"]
            assert await app.trigger_event("x bob") == "fake bob"
        assert await app.trigger_event("x bob") == "real bob"
        assert not app.overrides
        assert app.routes["handler"].is_plain
        with pytest.raises(TypeError, match="is not a coroutine function"), app.override(real, lambda: "x"):
            raise AssertionError

    asyncio.run(main())


@dataclass
class Multiplies:
    """A dependency that is an object, which cannot be hashed."""

    by: int

    async def __call__(self, n: int) -> int:
        log.append(f"times {self.by}")
        return n * self.by


def test_objects_are_dependencies_of_their_own() -> None:
    app = App()
    twice, thrice = Multiplies(2), Multiplies(3)

    async def replaced() -> int:
        return 0

    @app.on_event("x {n}")
    async def handler(a: int = Depends(twice), b: int = Depends(thrice), again: int = Depends(twice)) -> list[int]:
        return [a, b, again]

    async def main() -> None:
        assert await app.trigger_event("x 5") == [10, 15, 10]
        with app.override(thrice, replaced):
            assert await app.trigger_event("x 5") == [10, 0, 10]

    asyncio.run(main())
    assert log == ["times 2", "times 3", "times 2"]
