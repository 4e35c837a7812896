"""A function with its injection plan: a handler, a hook."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ...router import Convertor
from .codegen import Filled, compose
from .dependencies import Dependency
from .markers import Place
from .planner import fill
from .signatures import function_name, is_async_gen_func, is_coro_func, where

if TYPE_CHECKING:
    from ..aliases import AnyEvent, Call, CoroFunc

__all__ = ["HandlerHook", "Hook", "check_coro_func"]

ANY_TEXT = Convertor(".*", str)


def check_coro_func(fn: CoroFunc) -> CoroFunc:
    """Return `fn` if it is a coroutine function.

    :raises TypeError: it is not; the message names it
    """
    if is_coro_func(fn):
        return fn
    if inspect.iscoroutine(fn):
        fn.close()
        raise TypeError(f"{fn.__name__}() was called: pass the function {fn.__name__} itself, without parentheses")
    kind = "an async generator" if inspect.isasyncgenfunction(fn) else "not a coroutine function"
    name = where(fn) if callable(fn) else repr(fn)
    hint = ""
    if inspect.isfunction(fn) and kind.startswith("not"):
        hint = "; run blocking code in it by `await asyncio.to_thread(...)`"
    raise TypeError(f"{name} is {kind}: hooks and handlers must be declared with `async def`{hint}")


class Hook:
    """A function with its injection plan.

    :param fn: a coroutine function
    :param params: names of the path parameters of its route; None for a function that serves many routes
    :param place: where the function is used, instead of `params`
    :param dependencies: run before the function
    :raises TypeError: `fn` is not a coroutine function
    :raises RouteError: an argument cannot be injected
    """

    __slots__ = ("_dependencies", "_place", "call", "fn", "has_exits", "name", "of_requests")

    def __init__(
        self,
        fn: CoroFunc,
        params: Collection[str] | None = None,
        *,
        place: Place | None = None,
        dependencies: Sequence[Dependency] = (),
    ) -> None:
        self.fn: Final = self._check(fn)
        self.name: Final = function_name(fn)
        self._place = place or Place(_convertors(params))
        self._dependencies = dependencies
        filled = self.fill()
        self.has_exits: Final = any(one.resolver.has_exits for one in filled)
        """Whether a dependency must be cleaned up after the event."""
        self.of_requests: Final = any(one.resolver.of_requests for one in filled)
        """Whether it asks for what only a request has."""
        self.call: Call = self._compose(filled)

    def fill(self) -> list[Filled]:
        """Return its parameters with their resolvers, as they are planned."""
        return fill(self.fn, self._place, self._dependencies)

    def _check(self, fn: Any) -> Any:
        return check_coro_func(fn)

    def _compose(self, filled: list[Filled]) -> Call:
        return compose(self.fn, filled)

    def __call__(self, event: AnyEvent) -> Awaitable[Any]:
        """Call the function with arguments from `event`."""
        return self.call(event)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"


class HandlerHook(Hook):
    """A handler; for an async generator function the iterator is the event's result."""

    __slots__ = ()

    def _check(self, fn: Any) -> Any:
        return fn if is_async_gen_func(fn) else check_coro_func(fn)

    def _compose(self, filled: list[Filled]) -> Call:
        call: Any = compose(self.fn, filled)
        if not is_async_gen_func(self.fn):
            return call  # type: ignore[no-any-return]

        async def stream(event: AnyEvent) -> Any:
            result = call(event)
            return await result if inspect.isawaitable(result) else result

        return stream


def _convertors(params: Collection[str] | None) -> Mapping[str, Convertor] | None:
    if params is None or isinstance(params, Mapping):
        return params
    return dict.fromkeys(params, ANY_TEXT)
