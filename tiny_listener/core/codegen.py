"""A function that calls another, with what the resolvers of its arguments find in an event.

PERF: it is compiled from a text, as dataclasses do with theirs. What does the same for any number of arguments, in
loops and with unpacking, costs more than most handlers do.
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
"""Finds what an argument gets."""


class AsyncResolver:
    """Finds what an argument gets, and may wait for it."""

    __slots__ = ()

    async def __call__(self, event: AnyEvent) -> Any:
        """Return what the argument gets."""
        raise NotImplementedError


def the_event(event: AnyEvent) -> Any:
    """Return the event."""
    return event


class ParamOfRoute:
    """Gets a path parameter that the route is known to have."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name: Final = name

    def __call__(self, event: AnyEvent) -> Any:
        """Return the value of the parameter."""
        return event.params[self.name]


def is_ours(resolver: Resolver | AsyncResolver) -> bool:
    """Whether a resolver runs no code of the application's, does not wait, and does not raise."""
    if resolver is the_event or isinstance(resolver, ParamOfRoute):
        return True
    module, name = getattr(resolver, "__module__", ""), getattr(resolver, "__name__", "")
    return module.startswith("tiny_listener.") and name in ("<lambda>", "from_event")


def compose(
    fn: Callable[..., Any],
    positional: Sequence[Resolver | AsyncResolver],
    keywords: Mapping[str, Resolver | AsyncResolver],
) -> Call:
    """Return a function of an event that calls `fn`; a coroutine function, where a resolver is one, or may run code of
    the application's.

    Arguments are resolved from the left to the right, those by keyword last.
    """
    if list(positional) == [the_event] and not keywords:
        return fn
    names: dict[str, Any] = {"__name__": __name__, "fn": fn}
    arguments = [_argument(resolver, names) for resolver in positional]
    arguments += [f"{name}={_argument(resolver, names)}" for name, resolver in keywords.items()]
    # What runs code of the application's does so within the coroutine: in the context (contextvars) of its event.
    waits = any(not is_ours(resolver) for resolver in (*positional, *keywords.values()))
    start, wait = ("async ", "await " * is_coro_func(fn)) if waits else ("", "")
    code = _compiled(f"{start}def call(event): return {wait}fn({', '.join(arguments)})")
    return FunctionType(code, names)


def _argument(resolver: Resolver | AsyncResolver, names: dict[str, Any]) -> str:
    """Return the expression for what a resolver finds; what it refers to is added to `names`."""
    # NOTE: no name of the application's goes into the text but those of arguments, which are identifiers.
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
    """Return the code of the function that a text defines."""
    # Most handlers are of a few shapes, and compiling takes most of the time.
    module = compile(text, f"<{__name__}>", "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))
