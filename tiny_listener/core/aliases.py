"""Type names that several modules share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from .context import Context

    # The default makes a bare `Listener` or `Event` use the plain Context.
    CTX = TypeVar("CTX", bound=Context, default=Context)
    CTX_co = TypeVar("CTX_co", bound=Context, default=Context, covariant=True)
else:
    from typing import TypeVar

    CTX = TypeVar("CTX")
    CTX_co = TypeVar("CTX_co", covariant=True)

__all__ = ["CTX", "AnyEvent", "CTX_co", "CoroFunc", "F", "H", "PathParams"]

PathParams: TypeAlias = dict[str, Any]
"""Path parameters of an event: converted values by name."""

CoroFunc: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]
"""A function declared with `async def`."""

AnyEvent: TypeAlias = Any
"""An Event with any context class, which planning and dispatch do not use."""

Call: TypeAlias = Callable[[AnyEvent], Coroutine[Any, Any, Any]]
"""A planned function: it takes the event, resolves the arguments and returns the coroutine."""

F = TypeVar("F", bound="Callable[..., Coroutine[Any, Any, Any] | AsyncIterator[Any]]")
"""A handler: a coroutine function, or an async generator function."""

H = TypeVar("H", bound="Callable[..., Coroutine[Any, Any, Any]]")
"""A hook: a coroutine function."""
