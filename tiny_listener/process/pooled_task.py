"""A task of the pool. It records what is done to it, so that a task that other code may know is not reused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .task_pool import Suspended

__all__ = ["PooledTask", "set_attribute"]

set_attribute = object.__setattr__
TOUCHED = BEGUN = True


class PooledTask(asyncio.Task[None]):
    """A task that records whether it was modified, and that leaves no reference behind."""

    touched: bool
    """Whether it was modified."""
    has_begun: bool
    """Whether its first step has begun. asyncio never runs the coroutine of a task that is cancelled before, and nobody
    would learn of its end: it is cancelled within that step instead."""
    runner: Suspended
    _cancels: list[Any]

    def __init__(self, coro: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context) -> None:
        set_attribute(self, "touched", not TOUCHED)
        set_attribute(self, "has_begun", not BEGUN)
        set_attribute(self, "_cancels", [])
        super().__init__(coro, loop=loop, context=context)

    def __setattr__(self, name: str, value: object) -> None:
        set_attribute(self, "touched", TOUCHED)
        set_attribute(self, name, value)

    def __delattr__(self, name: str) -> None:
        set_attribute(self, "touched", TOUCHED)
        super().__delattr__(name)

    def add_done_callback(self, fn: Callable[..., object], /, *, context: Context | None = None) -> None:
        self.touched = True
        super().add_done_callback(fn, context=context)

    def cancel(self, msg: Any | None = None) -> bool:
        self.touched = True
        if not self.has_begun:
            self._cancels.append(msg)
            return True
        return super().cancel(msg)

    def begin(self) -> None:
        """The first step has begun."""
        set_attribute(self, "has_begun", BEGUN)
        for msg in self._cancels:
            asyncio.Task.cancel(self, msg)

    def set_name(self, value: object, /) -> None:
        self.touched = True
        super().set_name(value)

    def get_coro(self) -> Any:
        self.touched = True  # another request has another coroutine
        return super().get_coro()

    if hasattr(asyncio.Task, "get_context"):  # since Python 3.12

        def get_context(self) -> Context:
            self.touched = True
            return self.runner.context or self.runner.pool.context
