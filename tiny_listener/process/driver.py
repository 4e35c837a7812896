"""What drives the coroutines of one pooled task: a generator that never ends.

A coroutine's own end is a StopIteration, and to raise and catch one costs as much as the rest of a step; a `yield from`
sees it without.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any, TypeAlias

from .asyncio_private import release

__all__ = ["Driver", "drive", "first_step", "go_on"]

Driver: TypeAlias = Generator[Any, Any, None]


@types.coroutine
def drive(outcome: list[Any]) -> Driver:
    """Run coroutines, one after the other: take one, yield what it yields, then `outcome` with its result in it, and
    take the next. What a coroutine raises ends the driver.
    """
    coro = yield None
    while True:
        outcome[0] = yield from coro
        coro = None
        coro = yield outcome


@types.coroutine
def first_step(
    driver: Driver, outcome: list[Any], coro: Coroutine[Any, Any, Any], context: Context
) -> Generator[Any, Any, Any]:
    yielded = context.run(driver.send, coro)
    return (yield from go_on(driver, outcome, context, yielded, None))


@types.coroutine
def go_on(
    driver: Driver, outcome: list[Any], context: Context, yielded: Any, cancelled: BaseException | None
) -> Generator[Any, Any, Any]:
    """Yield to the task what the driver's coroutine yields, and give it what the task sends or throws."""
    if cancelled is not None:
        # The cancellation came between the first step and now: it is the coroutine's, not the pool's.
        release(yielded)
        yielded = context.run(driver.throw, cancelled)
        cancelled = None
    while yielded is not outcome:
        try:
            value = yield yielded
        except BaseException as exc:
            yielded = context.run(driver.throw, exc)
        else:
            yielded = context.run(driver.send, value)
    result = outcome[0]
    outcome[0] = None
    return result
