"""Where tasks are."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Coroutine, Generator
from typing import Any

import pytest

from tests.process.pools import pooled, warm
from tiny_listener.process.task_dump import MAX_TASKS, log_tasks, where_tasks_are
from tiny_listener.process.task_pool import TaskPool


class Awaitable:
    """Waits in a generator."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future

    def __await__(self) -> Generator[Any, Any, None]:
        yield from self.future


async def inner(future: asyncio.Future[None]) -> None:
    await Awaitable(future)


async def outer(future: asyncio.Future[None]) -> None:
    await inner(future)


async def items(future: asyncio.Future[None]) -> AsyncIterator[None]:
    await future
    yield


async def eats(future: asyncio.Future[None]) -> None:
    async for _ in items(future):
        pass


CALLS = ["outer (test_tasks.py:L)", "inner (test_tasks.py:L)", "Awaitable.__await__ (test_tasks.py:L)"]


def places(calls: list[str]) -> list[str]:
    """Return calls without their lines' numbers."""
    return [re.sub(r":\d+\)$", ":L)", call) for call in calls]


@pytest.mark.parametrize(("waits", "calls"), [(outer, CALLS), (eats, ["eats (test_tasks.py:L)"])])
def test_a_task_that_waits_is_shown_with_its_calls(waits: Any, calls: list[str]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        task = asyncio.create_task(waits(future), name="Task-10")
        other = asyncio.create_task(waits(future), name="Task-9")
        await asyncio.sleep(0)
        found = where_tasks_are(loop)
        assert [name for name, _ in found] == ["Task-9", "Task-10"]
        assert places(dict(found)["Task-10"]) == calls
        future.set_result(None)
        await asyncio.gather(task, other)
        assert where_tasks_are(loop) == []

    asyncio.run(main())


def test_a_coroutine_of_the_pool_is_shown_and_idle_tasks_are_not() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pool = TaskPool(loop)
        await warm(pool)
        future: asyncio.Future[None] = loop.create_future()
        waiting = asyncio.create_task(pooled(pool, outer(future)), name="who asked")
        while CALLS not in [places(calls) for _, calls in where_tasks_are(loop)]:
            await asyncio.sleep(0)
        future.set_result(None)
        await waiting
        assert where_tasks_are(loop) == []
        pool.close()

    asyncio.run(main())


def test_the_log_names_a_bounded_number(caplog: pytest.LogCaptureFixture) -> None:
    async def main(count: int) -> list[str]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting: list[asyncio.Task[None]] = []
        for number in range(count):
            one: Coroutine[Any, Any, None] = inner(future)
            waiting.append(asyncio.create_task(one, name=f"waiter {number}"))
        await asyncio.sleep(0)
        caplog.clear()
        log_tasks()
        future.set_result(None)
        await asyncio.gather(*waiting)
        return [record.getMessage() for record in caplog.records]

    with caplog.at_level(logging.WARNING, "tiny_listener"):
        few = asyncio.run(main(2))
        assert [line.split(" waits: ")[0] for line in few] == ["Task waiter 0", "Task waiter 1"]
        many = asyncio.run(main(MAX_TASKS + 7))
        assert len(many) == MAX_TASKS + 1
        assert many[-1] == "and 7 more tasks"
        caplog.clear()
        log_tasks()  # there is no loop
        assert caplog.records == []
