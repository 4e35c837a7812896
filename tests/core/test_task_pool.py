"""A coroutine that runs in a pooled task sees what it would see in a task of its own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from tiny_listener.task_pool import Suspended, TaskPool

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)


async def pooled(pool: TaskPool, coro: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in the pool, from a callback as a transport would, and return its result."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def done(result: Any, error: BaseException | None) -> None:
        if error is not None:
            future.set_exception(RuntimeError("cancelled") if isinstance(error, asyncio.CancelledError) else error)
        else:
            future.set_result(result)

    def run() -> None:
        try:
            result = pool.run(coro, done)
        except BaseException as exc:
            done(None, exc)
        else:
            if not isinstance(result, Suspended):
                done(result, None)

    loop.call_soon(run)
    return await future


async def warm(pool: TaskPool) -> None:
    """See to it that a task waits in the pool."""
    await pooled(pool, asyncio.sleep(0))
    while not pool.idle:
        await asyncio.sleep(0)


def run(runner: asyncio.Runner, test: Callable[[TaskPool], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        pool = TaskPool(asyncio.get_running_loop())
        for _ in range(2):  # first in a task of its own, then in a pooled one
            await test(pool)
            await warm(pool)
        await test(pool)
        pool.close()

    runner.run(main())


@pytest.mark.parametrize("suspends", [False, True])
def test_the_current_task_stays_the_same(runner: asyncio.Runner, suspends: bool) -> None:
    async def test(pool: TaskPool) -> None:
        async def coro() -> bool:
            before = asyncio.current_task()
            if suspends:
                await asyncio.sleep(0)
                await asyncio.sleep(0.001)
            return before is not None and before is asyncio.current_task()

        assert await pooled(pool, coro())
        assert await pooled(pool, coro())

    run(runner, test)


@pytest.mark.parametrize("suspends", [False, True])
def test_context_variables_do_not_leak(runner: asyncio.Runner, suspends: bool) -> None:
    async def test(pool: TaskPool) -> None:
        async def coro() -> int:
            found = variable.get()
            variable.set(1)
            if suspends:
                await asyncio.sleep(0)
                assert variable.get() == 1
                variable.set(2)
                await asyncio.sleep(0)
            return found

        assert [await pooled(pool, coro()) for _ in range(3)] == [0, 0, 0]

    run(runner, test)


def test_results_and_errors(runner: asyncio.Runner) -> None:
    async def test(pool: TaskPool) -> None:
        async def fail(suspends: bool) -> None:
            if suspends:
                await asyncio.sleep(0)
            raise ValueError("deliberate")

        for suspends in (False, True):
            with pytest.raises(ValueError, match="deliberate"):
                await pooled(pool, fail(suspends))
        assert await pooled(pool, asyncio.sleep(0, 7)) == 7

    run(runner, test)


def test_timeouts(runner: asyncio.Runner) -> None:
    async def test(pool: TaskPool) -> None:
        async def coro() -> str:
            try:
                async with asyncio.timeout(0.005):
                    await asyncio.Event().wait()
            except TimeoutError:
                pass
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.005)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            with anyio.move_on_after(0.005) as scope:
                await anyio.sleep_forever()
            assert scope.cancelled_caught
            return "done"

        assert await pooled(pool, coro()) == "done"

    run(runner, test)


def test_task_groups(runner: asyncio.Runner) -> None:
    async def test(pool: TaskPool) -> None:
        async def child(n: int) -> int:
            await asyncio.sleep(0)
            return n

        async def fail() -> None:
            raise ValueError

        async def failing() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.Event().wait()

        async def coro() -> int:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(child(n)) for n in range(3)]
            with pytest.raises(ExceptionGroup):
                await failing()
            async with anyio.create_task_group() as scope:
                scope.start_soon(child, 1)
            return sum(task.result() for task in tasks)

        assert await pooled(pool, coro()) == 3

    run(runner, test)


@pytest.mark.parametrize("when", ["at once", "after a step"])
def test_a_coroutine_that_cancels_itself(runner: asyncio.Runner, when: str) -> None:
    async def test(pool: TaskPool) -> None:
        async def coro() -> str:
            if when == "after a step":
                await asyncio.sleep(0)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task.uncancel()
                await asyncio.sleep(0)
                return "caught"
            return "not cancelled"

        assert await pooled(pool, coro()) == "caught"
        assert await pooled(pool, asyncio.sleep(0, 1)) == 1

    run(runner, test)


def test_a_cancellation_between_the_first_step_and_the_second(runner: asyncio.Runner) -> None:
    async def test(pool: TaskPool) -> None:
        found: list[asyncio.Task[Any]] = []
        cleaned: list[bool] = []

        async def coro() -> None:
            task = asyncio.current_task()
            assert task is not None
            found.append(task)
            asyncio.get_running_loop().call_soon(task.cancel)
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(True)

        with pytest.raises(RuntimeError, match="cancelled"):
            await pooled(pool, coro())
        assert cleaned == [True]
        assert await pooled(pool, asyncio.sleep(0, 1)) == 1

    run(runner, test)


def test_cancelling_a_task_and_returning_all_the_same_harms_nobody(runner: asyncio.Runner) -> None:
    async def test(pool: TaskPool) -> None:
        async def coro() -> int:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return 1

        await warm(pool)
        assert await pooled(pool, coro()) == 1
        assert await pooled(pool, asyncio.sleep(0, 2)) == 2
        assert await pooled(pool, asyncio.sleep(0.001, 3)) == 3

    run(runner, test)


def test_many_at_once(runner: asyncio.Runner) -> None:
    async def test(pool: TaskPool) -> None:
        async def coro(n: int) -> int:
            if n % 2:
                await asyncio.sleep(0.001 * (n % 5))
            return n

        assert await asyncio.gather(*[pooled(pool, coro(n)) for n in range(500)]) == list(range(500))

    run(runner, test)
