"""Type names that several modules share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from .context import Context

    # A default, so that a bare `Listener` or `Event` means the one with the plain Context.
    CTX = TypeVar("CTX", bound=Context, default=Context)
    CTX_co = TypeVar("CTX_co", bound=Context, default=Context, covariant=True)
else:
    from typing import TypeVar

    CTX = TypeVar("CTX")
    CTX_co = TypeVar("CTX_co", covariant=True)

__all__ = ["CTX", "AnyEvent", "CTX_co", "CoroFunc", "F", "PathParams"]

PathParams: TypeAlias = dict[str, Any]
"""The parameters that a pattern took out of an event's text, converted, by name."""

CoroFunc: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]
"""A function declared with `async def`."""

AnyEvent: TypeAlias = Any
"""An Event of whatever context class: planning and dispatch do not look at it."""

Call: TypeAlias = Callable[[AnyEvent], Coroutine[Any, Any, Any]]
"""A planned function: takes the event, finds the arguments, and gives the coroutine."""

F = TypeVar("F", bound="Callable[..., Any]")
