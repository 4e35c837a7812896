"""A pooled task that somebody knows is not used again; one that nobody knows is."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker

from tests.process.pools import pooled, run, until, warm
from tiny_listener.process.task_pool import TaskPool

kept: list[Any] = []
by_task: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _call_later() -> None:
    asyncio.get_running_loop().call_later(1000, _current().cancel)


def _cancel_and_think_better() -> None:
    _current().cancel()
    _current().uncancel()


TOUCHES: dict[str, Callable[[], Any]] = {
    "a reference": lambda: kept.append(_current()),
    "a bound method": lambda: kept.append(_current().cancel),
    "a timer that cancels": _call_later,
    "a weak reference": lambda: kept.append(weakref.ref(_current())),
    "a weak dictionary": lambda: by_task.__setitem__(_current(), "mine"),
    "a done callback": lambda: _current().add_done_callback(lambda _: None),
    "a name": lambda: _current().set_name("mine"),
    "a cancellation that was taken back": _cancel_and_think_better,
}


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("touch", TOUCHES)
def test_a_task_that_somebody_knows_is_nobody_elses(runner: asyncio.Runner, touch: str, suspends: bool) -> None:
    async def main() -> None:
        pool = TaskPool(asyncio.get_running_loop())
        await warm(pool)
        assert pool.idle == 1

        async def coro() -> int:
            if suspends:
                await asyncio.sleep(0)
            TOUCHES[touch]()
            number = id(_current())
            if touch == "a cancellation that was taken back":
                with contextlib.suppress(asyncio.CancelledError):  # which comes with the next step all the same
                    await asyncio.sleep(0)
            return number

        kept.clear()
        by_task.clear()
        touched = await pooled(pool, coro())
        await until(lambda: pool.idle == 0)
        others = {await pooled(pool, _number()) for _ in range(3)}
        if kept and isinstance(kept[0], asyncio.Task):
            assert kept[0].done()
            assert touched not in others
        assert not by_task or next(iter(by_task)).done()
        kept.clear()
        pool.close()

    runner.run(main())


async def _number() -> int:
    await asyncio.sleep(0)
    return id(_current())


@pytest.mark.parametrize("suspends", [False, True])
def test_a_task_that_nobody_knows_is_reused(runner: asyncio.Runner, suspends: bool) -> None:
    """Or else the pool would be worth nothing."""

    async def main() -> None:
        pool = TaskPool(asyncio.get_running_loop())
        await warm(pool)
        assert pool.idle == 1

        async def coro() -> int:
            number = id(_current())
            if suspends:
                async with asyncio.timeout(10):
                    await asyncio.sleep(0.001)
            return number

        assert len({await pooled(pool, coro()) for _ in range(20)}) == 1
        assert pool.idle == 1
        pool.close()

    runner.run(main())


@pytest.mark.parametrize("suspends", [False, True])
def test_done_callbacks_are_called_when_the_coroutine_ends(runner: asyncio.Runner, suspends: bool) -> None:
    async def test(pool: TaskPool) -> None:
        called: list[bool] = []

        async def coro() -> None:
            _current().add_done_callback(lambda task: called.append(task.done()))
            if suspends:
                await asyncio.sleep(0)

        for n in range(1, 4):
            await pooled(pool, coro())
            await until(lambda n=n: len(called) == n)  # type: ignore[misc]
        assert all(called)

    run(runner, test)


def test_a_later_cancellation_meets_a_task_that_has_ended(runner: asyncio.Runner) -> None:
    async def test(pool: TaskPool) -> None:
        tasks: list[asyncio.Task[Any]] = []

        async def leave() -> None:
            tasks.append(_current())

        async def innocent(release: asyncio.Event) -> str:
            await release.wait()
            return "innocent"

        await pooled(pool, leave())
        release = asyncio.Event()
        waiting = asyncio.ensure_future(pooled(pool, innocent(release)))
        await until(tasks[0].done)
        assert tasks[0].cancel() is False
        release.set()
        assert await waiting == "innocent"

    run(runner, test)


def test_sessions_by_task_are_not_shared(runner: asyncio.Runner) -> None:
    registry = async_scoped_session(async_sessionmaker(), scopefunc=asyncio.current_task)

    async def test(pool: TaskPool) -> None:
        async def session(*, remove: bool) -> Any:
            found = registry()
            if remove:
                await registry.remove()
            return found

        for remove in (False, True):
            sessions = [await pooled(pool, session(remove=remove)) for _ in range(5)]
            assert len({id(one) for one in sessions}) == 5

    run(runner, test)
