"""Dependencies: functions whose results are arguments, and their cleanup.

A dependency that yields once is resumed when its event is done, in reverse order, and sees the exception that the event
failed with. A request is done when its response has been sent or its client is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Hashable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar, overload

from ...process.safe_logging import log_safely
from .codegen import Filled, compose
from .resolvers import Phase, Resolver
from .signatures import function_name, is_async_gen_func, is_coro_func, where

if TYPE_CHECKING:
    from ..aliases import AnyEvent, Call

__all__ = ["Dependency", "DependencyResolver", "Depends", "clean_up", "depend", "exits_of", "key_of"]

T = TypeVar("T")
logger = logging.getLogger("tiny_listener")
UseCache = bool | Literal["context"]
EXITS: Final = object()
"""The key of an event's cache under which its generators wait for their cleanup."""


class Dependency:
    """The result of `Depends(...)` in a signature: a function whose result is injected.

    :param fn: a coroutine function, or an async generator function that yields once and then cleans up
    :param use_cache: True: it runs once for an event, for all that ask for it; "context": once for the context of the
        event; False: for each argument
    :param timeout: seconds that the function may take; after that TimeoutError is raised and the handler does not run
    :raises TypeError: `fn` is neither, or `use_cache` is none of these, or "context" with a generator
    """

    __slots__ = ("fn", "is_generator", "key", "timeout", "use_cache")
    needs_no_annotation: ClassVar[bool] = True
    """Whether it says alone what an argument gets."""

    def __init__(self, fn: Any = None, use_cache: UseCache = True, timeout: float | None = None) -> None:
        self.fn: Final = _checked(fn)
        self.key: Final = key_of(fn)
        """Under which its result is cached."""
        self.is_generator: Final = is_async_gen_func(fn)
        if use_cache not in (True, False, "context"):
            raise TypeError(f'use_cache must be True, False or "context", not {use_cache!r}')
        if use_cache == "context" and self.is_generator:
            raise TypeError(
                f'{where(fn)} yields, so its value ends with its event: use_cache="context" would give it to later ones'
            )
        self.use_cache: Final = use_cache
        self.timeout: Final = timeout

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dependency) and self.key == other.key

    def __repr__(self) -> str:
        return f"Depends({function_name(self.fn)})"


def key_of(fn: Callable[..., Any]) -> Hashable:
    """Return a key for a function: itself, or its identity if it is an object that cannot be hashed."""
    try:
        hash(fn)
    except TypeError:
        return "unhashable", id(fn)
    return fn


def _checked(fn: Any) -> Callable[..., Any]:
    if is_coro_func(fn) or is_async_gen_func(fn):
        return fn  # type: ignore[no-any-return]
    if asyncio.iscoroutine(fn) or isinstance(fn, AsyncIterator):
        name = getattr(fn, "__name__", type(fn).__name__)
        if asyncio.iscoroutine(fn):
            fn.close()
        raise TypeError(f"Depends({name}()) depends on one call of it: write Depends({name}), without parentheses")
    if fn is None:
        raise TypeError("Depends() says nothing: write Depends(fn) with the function that makes the value")
    name = where(fn) if callable(fn) else repr(fn)
    if isinstance(fn, type):
        raise TypeError(
            f"Depends({name}) is given a class: write Depends(fn) with an `async def fn(...) -> {name}` that takes "
            f"what it needs and returns {name}(...); or make {name} a dataclass with a class method from_event(event)"
        )
    raise TypeError(
        f"{name} is not a coroutine function: Depends() takes an `async def` that returns or yields the value; "
        "run blocking code in it by `await asyncio.to_thread(...)`"
    )


if TYPE_CHECKING:
    # For a type checker, the default value of an argument has the type of the injected value.
    @overload
    def Depends(
        fn: Callable[..., Coroutine[Any, Any, T]], use_cache: UseCache = True, timeout: float | None = None
    ) -> T: ...

    @overload
    def Depends(fn: Callable[..., AsyncIterator[T]], use_cache: UseCache = True, timeout: float | None = None) -> T: ...

    def Depends(  # noqa: N802
        fn: Callable[..., Any], use_cache: UseCache = True, timeout: float | None = None
    ) -> Any: ...

    depend = Depends

else:
    Depends = Dependency
    depend = Dependency


class DependencyResolver(Resolver):
    """A dependency within one plan.

    :param dependency: the dependency
    :param fill: returns the parameters of a function with their resolvers, for the place of this one
    """

    __slots__ = ("_call", "_fill", "_others", "dependency", "filled")
    phase = Phase.DEPENDENCY
    waits = True
    is_ours = False
    may_fail = True

    def __init__(self, dependency: Dependency, fill: Callable[[Callable[..., Any]], list[Filled]]) -> None:
        self.dependency: Final = dependency
        self.filled: Final = fill(dependency.fn)
        self._fill = fill
        self._call = compose(dependency.fn, self.filled, is_nested=True)
        self._others: dict[Any, Call] = {}

    @property
    def of_requests(self) -> bool:
        """See `Resolver`."""
        return any(one.resolver.of_requests for one in self.filled)

    @property
    def has_exits(self) -> bool:
        """Whether it, or a dependency of it, must be cleaned up after the event."""
        return self.dependency.is_generator or any(one.resolver.has_exits for one in self.filled)

    async def __call__(self, event: AnyEvent) -> Any:
        """Return the result of the dependency.

        :raises Unfit: an argument of it cannot be resolved
        """
        dependency = self.dependency
        overrides = event.listener.overrides
        if overrides:
            dependency = overrides.get(dependency.key, dependency)
        if not dependency.use_cache:
            return await self._result(event, dependency)
        cache = event.cache if dependency.use_cache is True else event.ctx.cache
        key = self.dependency.key
        if key in cache:
            return cache[key]
        result = cache[key] = await self._result(event, dependency)
        return result

    async def _result(self, event: AnyEvent, dependency: Dependency) -> Any:
        call = self._call
        if dependency is not self.dependency:
            if dependency.key not in self._others:
                self._others[dependency.key] = compose(dependency.fn, self._fill(dependency.fn), is_nested=True)
            call = self._others[dependency.key]
        if dependency.timeout is None and not dependency.is_generator:
            return await call(event)
        async with asyncio.timeout(dependency.timeout):
            if dependency.is_generator:
                return await _enter(event, call, dependency.fn)
            return await call(event)


async def _enter(event: AnyEvent, call: Call, fn: Callable[..., Any]) -> Any:
    """Run a generator up to its `yield`, and remember it for the cleanup."""
    generator: Any = call(event)
    if asyncio.iscoroutine(generator):
        generator = await generator
    try:
        value = await anext(generator)
    except StopAsyncIteration:
        raise RuntimeError(f"{where(fn)} is a dependency that ended without `yield`") from None
    event.cache.setdefault(EXITS, []).append((generator, fn))
    return value


def exits_of(event: AnyEvent) -> list[tuple[AsyncGenerator[Any, None], Callable[..., Any]]]:
    """Return the generators that wait for their cleanup; call `clean_up` if there are any."""
    return event.cache.get(EXITS, [])  # type: ignore[no-any-return]


async def clean_up(event: AnyEvent) -> None:
    """Resume the generators of an event that is done, the last one first. What they raise is logged.

    :raises asyncio.CancelledError: the task was cancelled meanwhile; all generators were resumed nevertheless
    """
    cancelled: BaseException | None = None
    exits = exits_of(event)
    while exits:
        generator, fn = exits.pop()
        try:
            await _leave(generator, event.error, fn)
        except (asyncio.CancelledError, GeneratorExit) as exc:
            cancelled = exc
        except BaseException as exc:
            message = "The cleanup of the dependency %s failed, after the event %r"
            log_safely(logger, logging.ERROR, message, where(fn), event.route.path, exc_info=exc)
    if cancelled is not None:
        raise cancelled


async def _leave(generator: AsyncGenerator[Any, None], error: BaseException | None, fn: Callable[..., Any]) -> None:
    try:
        if error is None:
            await anext(generator)
        else:
            await generator.athrow(error)
    except StopAsyncIteration:
        return
    except BaseException as exc:
        if exc is error or (error is not None and exc.__cause__ is error and isinstance(exc, RuntimeError)):
            return  # it saw the exception and let it pass
        raise
    await generator.aclose()
    raise RuntimeError(f"{where(fn)} is a dependency that yielded twice")
