"""Generates a function that resolves the arguments of another function from an event and calls it.

PERF: the function is compiled from source text, as dataclasses does. A generic version with loops and unpacking costs
more than most handlers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .resolvers import MUTABLE, Constant, ConvertedParam, ParamOfRoute, Problem, Resolver, TheEvent, Unfit, error_of
from .signatures import is_coro_func, where

if TYPE_CHECKING:
    from ..aliases import AnyEvent, Call

__all__ = ["Filled", "compose"]

MISSING: Final = object()
"""The value of an argument that is not resolved yet."""


class Filled(NamedTuple):
    """A parameter with its resolver.

    :ivar name: of the parameter
    :ivar resolver: of its value
    :ivar keyword_only: whether it is passed by name
    :ivar is_passed: False for a dependency that is only run
    """

    name: str
    resolver: Resolver
    keyword_only: bool = False
    is_passed: bool = True


def compose(fn: Callable[..., Any], filled: Sequence[Filled], *, is_nested: bool = False) -> Call:
    """Return a function that takes an event and calls `fn`. It is a coroutine function if a resolver may wait or run
    application code, which belongs into the context (contextvars) of the event.

    Arguments are resolved phase by phase, and within a phase from left to right. If some do not fit, the rest is
    resolved too, so that all problems are reported together, and `fn` is not called.

    :param is_nested: whether `fn` is a dependency, whose problems are reported with those of its handler
    """
    if len(filled) == 1 and type(filled[0].resolver) is TheEvent and not filled[0].keyword_only:
        return fn
    names: dict[str, Any] = {"__name__": __name__, "fn": fn}
    in_order = sorted(filled, key=lambda one: one.resolver.phase)
    waits = any(one.resolver.waits or not one.resolver.is_ours for one in in_order)
    awaits = "await " if waits and is_coro_func(fn) else ""
    values: dict[str, str] = {}
    lines: list[str] = []
    for one in in_order:
        if not (one.resolver.may_fail or one.resolver.waits):
            values[one.name] = _expression(one.resolver, names)
            continue
        values[one.name] = variable = f"v{len(lines)}"
        lines.append(f"{variable} = {_expression(one.resolver, names)}")
    passed = [one for one in filled if one.is_passed]
    arguments = [f"{one.name}={values[one.name]}" if one.keyword_only else values[one.name] for one in passed]
    call = f"return {awaits}fn({', '.join(arguments)})"
    if not any(one.resolver.may_fail for one in in_order):
        text = _function(waits, [*lines, call])
    else:
        stored = [one.resolver for one in in_order if one.resolver.may_fail or one.resolver.waits]
        names |= {"MISSING": MISSING, "Unfit": Unfit, "refuse": _Refusal(fn, stored, is_nested=is_nested)}
        variables = [f"v{number}" for number in range(len(lines))]
        refuse = f"    return {'await ' * waits}refuse(event, exc, ({', '.join(variables)},))"
        converted = sum(isinstance(resolver, ConvertedParam) for resolver in stored)  # they are the first
        text = _function(
            waits,
            [
                " = ".join((*variables, "MISSING")),
                *_guarded(lines[:converted], "ValueError", refuse),
                *_guarded(lines[converted:], "Unfit", refuse),
                call,
            ],
        )
    return FunctionType(_compiled(text), names)


def _guarded(lines: list[str], error: str, refuse: str) -> list[str]:
    """Return lines that refuse the event on an error."""
    return ["try:", *(f"    {line}" for line in lines), f"except {error} as exc:", refuse] if lines else []


def _function(waits: bool, lines: list[str]) -> str:
    return "\n    ".join([f"{'async ' * waits}def call(event):", *lines])


def _expression(resolver: Resolver, names: dict[str, Any]) -> str:
    """Return the expression for an argument; add the names that it refers to."""
    # NOTE: the only application names in the text are those of arguments, which are identifiers.
    if isinstance(resolver, TheEvent):
        return "event"
    name = f"_{len(names)}"
    if isinstance(resolver, ParamOfRoute):
        names[name] = resolver.name
        return f"event.params[{name}]"
    if isinstance(resolver, ConvertedParam):
        names[name], names[f"{name}c"] = resolver.name, resolver.convert
        return f"{name}c(event.params[{name}])"
    if isinstance(resolver, Constant):
        names[name] = resolver.value
        return f"{name}.copy()" if type(resolver.value) in MUTABLE else name
    names[name] = resolver.__call__  # PERF: a method is called faster than an object
    return f"{'await ' * resolver.waits}{name}(event)"


class _Refusal:
    """Raises the error for an event that does not fit a function.

    :param fn: the function
    :param resolvers: those whose values are stored, in the order in which they are resolved
    :param is_nested: see `compose`
    """

    __slots__ = ("_fn", "_is_nested", "_resolvers")

    def __init__(self, fn: Callable[..., Any], resolvers: list[Resolver], *, is_nested: bool) -> None:
        self._fn = fn
        self._resolvers = resolvers
        self._is_nested = is_nested

    async def __call__(self, event: AnyEvent, error: Unfit | ValueError, values: tuple[Any, ...]) -> Any:
        """Resolve the rest, and raise the error with all problems.

        :param error: of the resolver that has failed; a ValueError of a conversion
        :param values: of the resolvers; MISSING from the one that has failed
        """
        failed = next(number for number, value in enumerate(values) if value is MISSING)
        if isinstance(error, Unfit):
            problems = list(error.problems)
        else:
            resolver: Any = self._resolvers[failed]
            problems = [Problem("path", resolver.name, "", str(error), 404)]
        if problems[0].place != "path":  # otherwise the event is that of no route: nothing else matters
            for resolver in self._resolvers[failed + 1 :]:
                try:
                    value = resolver(event)
                    if resolver.waits:
                        await value
                except Unfit as exc:
                    problems += exc.problems
        if self._is_nested:
            raise Unfit(problems)
        raise error_of(event, problems, where(self._fn)) from None


@lru_cache(maxsize=256)
def _compiled(text: str) -> CodeType:
    """Compile a function definition."""
    # Cached, because compiling takes most of the time and most handlers have one of a few shapes.
    module = compile(text, f"<{__name__}>", "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))
