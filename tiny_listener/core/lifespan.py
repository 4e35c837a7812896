"""Code around the life of a listener: entered at startup, left at shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

from .injection.signatures import is_async_gen_func, parameters_of, where

if TYPE_CHECKING:
    from .listener import Listener

__all__ = ["Lifespan", "LifespanFunction", "State"]

LifespanFunction: TypeAlias = "Callable[..., AsyncIterator[Any] | AbstractAsyncContextManager[Any]]"
"""An async generator function that yields once, or one that returns an async context manager; without arguments, or
with the listener as the only one."""


class State(SimpleNamespace):
    """What an application keeps: attributes of any names."""

    def __getattr__(self, name: str) -> Any:
        """Say what sets an attribute that is not there."""
        raise AttributeError(
            f"app.state has no {name!r} (it has: {', '.join(sorted(vars(self))) or 'nothing'}): a lifespan yields "
            f"{{{name!r}: ...}}, and runs with the server, or in a test within `with TestClient(app)`",
            name=name,
            obj=self,
        )


class Lifespan:
    """One such function. It is entered and left in one task, so that it may hold task groups and time limits open.

    :param fn: the function
    :param listener: the listener that it surrounds
    :raises TypeError: `fn` is neither, or has other arguments
    """

    def __init__(self, fn: LifespanFunction, listener: Listener[Any]) -> None:
        if not callable(fn) or inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn):
            name = where(fn) if callable(fn) else repr(fn)
            raise TypeError(
                f"{name} is no lifespan: write an async generator (`async def`) that yields once, or "
                "@asynccontextmanager before it"
            )
        if len(parameters_of(fn)) > 1:
            raise TypeError(f"{where(fn)} has more than one argument: a lifespan takes the listener, or nothing")
        self.fn = fn
        self.__name__ = getattr(fn, "__name__", type(fn).__name__)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None
        self._leave: asyncio.Event | None = None

    def _manager(self) -> AbstractAsyncContextManager[Any]:
        arguments = (self._listener,) if parameters_of(self.fn) else ()
        fn: Any = self.fn
        make = contextlib.asynccontextmanager(fn) if is_async_gen_func(fn) else fn
        manager: Any = make(*arguments)
        if not isinstance(manager, AbstractAsyncContextManager):
            raise TypeError(f"{where(self.fn)} returned {type(manager).__name__}, not an async context manager")
        return manager

    async def enter(self) -> None:
        """Enter it. Context variables that it sets are set in the current context too.

        :raises BaseException: raised before its `yield`
        """
        entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        context = copy_context()
        self._task = asyncio.Task(
            self._run(entered), name=f"lifespan {self.__name__}", context=context, loop=asyncio.get_running_loop()
        )
        try:
            await asyncio.wait({entered, self._task}, return_when="FIRST_COMPLETED")
        except asyncio.CancelledError:  # a stop during startup
            self._task.cancel()
            await asyncio.wait({self._task})
            raise
        if self._task.done():
            self._task.result()
        value = entered.result()
        _set_variables(context)
        if isinstance(value, Mapping):
            for name, item in value.items():
                setattr(self._listener.state, name, item)

    async def __call__(self) -> None:
        """Leave it.

        :raises BaseException: raised after its `yield`
        """
        if self._task is None or self._leave is None:
            return
        self._leave.set()
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:  # the graceful timeout is over
            self._task.cancel()
            raise

    async def _run(self, entered: asyncio.Future[Any]) -> None:
        assert self._leave is not None
        async with self._manager() as value:
            if not entered.done():
                entered.set_result(value)
            await self._leave.wait()


def _set_variables(context: Context) -> None:
    current = copy_context()
    for variable, value in context.items():
        if variable not in current or current[variable] is not value:
            variable.set(value)
