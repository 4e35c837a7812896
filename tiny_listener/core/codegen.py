"""Generates a function that resolves the arguments of another function from an event and calls it.

PERF: the function is compiled from source text, as dataclasses does. A generic version with loops and unpacking costs
more than most handlers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .signatures import is_coro_func

if TYPE_CHECKING:
    from .aliases import AnyEvent, Call

__all__ = ["AsyncResolver", "ParamOfRoute", "Resolver", "compose", "the_event"]

Resolver: TypeAlias = "Callable[[AnyEvent], Any]"
"""Returns the value of an argument."""


class AsyncResolver:
    """Returns the value of an argument, and may await it."""

    __slots__ = ()

    async def __call__(self, event: AnyEvent) -> Any:
        """Return the value of the argument."""
        raise NotImplementedError


def the_event(event: AnyEvent) -> Any:
    """Return the event."""
    return event


class ParamOfRoute:
    """Returns a path parameter that the route is known to have."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name: Final = name

    def __call__(self, event: AnyEvent) -> Any:
        """Return the parameter."""
        return event.params[self.name]


def is_ours(resolver: Resolver | AsyncResolver) -> bool:
    """Whether a resolver runs no application code, does not wait, and does not raise."""
    if resolver is the_event or isinstance(resolver, ParamOfRoute):
        return True
    module, name = getattr(resolver, "__module__", ""), getattr(resolver, "__name__", "")
    return module.startswith("tiny_listener.") and name in ("<lambda>", "from_event")


def compose(
    fn: Callable[..., Any],
    positional: Sequence[Resolver | AsyncResolver],
    keywords: Mapping[str, Resolver | AsyncResolver],
) -> Call:
    """Return a function that takes an event and calls `fn`. It is a coroutine function if a resolver may wait or run
    application code.

    Arguments are resolved from left to right, keyword arguments last.
    """
    if list(positional) == [the_event] and not keywords:
        return fn
    names: dict[str, Any] = {"__name__": __name__, "fn": fn}
    arguments = [_argument(resolver, names) for resolver in positional]
    arguments += [f"{name}={_argument(resolver, names)}" for name, resolver in keywords.items()]
    # Application code runs within the coroutine, that is in the context (contextvars) of its event.
    waits = any(not is_ours(resolver) for resolver in (*positional, *keywords.values()))
    start, wait = ("async ", "await " * is_coro_func(fn)) if waits else ("", "")
    code = _compiled(f"{start}def call(event): return {wait}fn({', '.join(arguments)})")
    return FunctionType(code, names)


def _argument(resolver: Resolver | AsyncResolver, names: dict[str, Any]) -> str:
    """Return the expression for an argument; add the names it refers to to `names`."""
    # NOTE: the only application names in the text are those of arguments, which are identifiers.
    if resolver is the_event:
        return "event"
    name = f"_{len(names)}"
    if isinstance(resolver, ParamOfRoute):
        names[name] = resolver.name
        return f"event.params[{name}]"
    if isinstance(resolver, AsyncResolver):
        names[name] = resolver.__call__  # PERF: a method is called faster than an object
        return f"await {name}(event)"
    names[name] = resolver
    return f"{name}(event)"


@lru_cache(maxsize=256)
def _compiled(text: str) -> CodeType:
    """Compile a function definition."""
    # Cached, because compiling takes most of the time and most handlers have one of a few shapes.
    module = compile(text, f"<{__name__}>", "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))
