"""Drives the coroutines of one pooled task: a generator that never ends.

A coroutine ends with StopIteration, and raising and catching one costs as much as the rest of a step. A `yield from`
detects the end without it.
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
    """Run coroutines, one after the other: receive one, yield what it yields, then yield `outcome` with its result in
    it, and receive the next. An exception of a coroutine ends the driver.
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
    """Yield to the task what the driver's coroutine yields, and pass it what the task sends or throws."""
    if cancelled is not None:
        # The cancellation arrived between the first step and now: it is meant for the coroutine, not for the pool.
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
