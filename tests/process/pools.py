"""Coroutines in a task pool, as a transport would run them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tiny_listener.process.task_pool import Suspended, TaskPool


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
    """See to it that one task waits in the pool, at least."""
    await until(lambda: pool.probe is None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if not pool.idle:
        await pooled(pool, asyncio.sleep(0))
    await until(lambda: pool.idle > 0)


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds, within 10 s."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def run(runner: asyncio.Runner, test: Callable[[TaskPool], Coroutine[Any, Any, None]]) -> None:
    """Run a test in a new pool, then with a task that waits in it, then again."""

    async def main() -> None:
        pool = TaskPool(asyncio.get_running_loop())
        for _ in range(2):  # first in a task of its own, then in a pooled one
            await test(pool)
            await warm(pool)
        await test(pool)
        pool.close()

    runner.run(main())
