"""A coroutine that runs in a pooled task sees what it would see in a task of its own."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import anyio
import pytest

from tests.process.pools import pooled, run, until, warm
from tiny_listener.process import task_pool
from tiny_listener.process.task_pool import TaskPool

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)


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


def test_a_task_that_is_cancelled_before_it_begins_tells_of_its_end(runner: asyncio.Runner) -> None:
    async def test(pool: TaskPool) -> None:
        seen: list[str] = []
        done: list[Any] = []

        async def coro() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                seen.append("closed")

        async def within_a_task() -> None:
            suspended = pool.run(coro(), lambda value, error: done.append((value, type(error))))
            suspended.cancel()

        await within_a_task()
        await until(lambda: bool(done))
        assert (seen, done) == (["closed"], [(None, asyncio.CancelledError)])

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


class Own(BaseException):
    """An exception that is no Exception."""


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("kind", [Own, SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError, MemoryError])
def test_no_exception_of_a_coroutine_leaves_the_pool(
    runner: asyncio.Runner, kind: type[BaseException], suspends: bool
) -> None:
    async def test(pool: TaskPool) -> None:
        async def coro() -> None:
            if suspends:
                await asyncio.sleep(0)
            raise kind

        ended: list[BaseException | None] = []

        def begin() -> None:
            try:
                pool.run(coro(), lambda _, error: ended.append(error))
            except BaseException as exc:
                ended.append(exc)

        asyncio.get_running_loop().call_soon(begin)
        await until(lambda: bool(ended))
        assert type(ended[0]) is kind
        assert await pooled(pool, asyncio.sleep(0, 1)) == 1

    run(runner, test)


class Foreign:
    """Yields what no future is, as the traps of other frameworks are."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Any:
        return (yield self._value)


@pytest.mark.parametrize("value", [(), ("sleep", 1), [None], ["result"], "text", object()])
def test_what_a_foreign_awaitable_yields_is_taken_for_no_result(runner: asyncio.Runner, value: Any) -> None:
    async def test(pool: TaskPool) -> None:
        async def coro() -> str:
            await Foreign(value)
            return "secret"

        with pytest.raises(RuntimeError, match="bad yield"):
            await pooled(pool, coro())
        assert await pooled(pool, asyncio.sleep(0, "innocent")) == "innocent"

    run(runner, test)


def test_context_variables_do_not_leak_into_what_a_coroutine_sets_off(runner: asyncio.Runner) -> None:
    """A coroutine may run because another wrote, read or resumed something; it sees nothing of that one's context."""

    async def test(pool: TaskPool) -> None:
        found: list[int] = []

        async def look() -> None:
            found.append(variable.get())

        async def coro() -> None:
            variable.set(7)
            asyncio.get_running_loop().call_soon(pool.run, look(), lambda *_: None)
            await asyncio.sleep(0)

        await pooled(pool, coro())
        await until(lambda: bool(found))
        assert found == [0]

    run(runner, test)


def test_a_closed_pool_keeps_no_task(runner: asyncio.Runner) -> None:
    async def main() -> None:
        pool = TaskPool(asyncio.get_running_loop())
        release = asyncio.Event()
        waiting = [asyncio.ensure_future(pooled(pool, release.wait())) for _ in range(3)]
        await asyncio.sleep(0)
        pool.close()
        release.set()
        await asyncio.gather(*waiting)
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        assert pool.idle == 0

    runner.run(main())


def test_a_full_pool_lets_tasks_end(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_pool, "MAX_POOL", 2)

    async def main() -> None:
        pool = TaskPool(asyncio.get_running_loop())
        await warm(pool)
        assert pool.idle == 1
        release = asyncio.Event()
        waiting = [asyncio.ensure_future(pooled(pool, release.wait())) for _ in range(5)]
        await until(lambda: len(asyncio.all_tasks()) == 1 + 5 + 5)  # this one, those that wait, and those of the pool
        release.set()
        await asyncio.gather(*waiting)
        await until(lambda: len(asyncio.all_tasks()) == 3)
        assert pool.idle == 2
        pool.close()

    runner.run(main())
