"""Reads the signature of a function when it is registered.

PERF: an application may have thousands of handlers, and each worker registers all of them while it boots. Reading the
attributes of a plain function takes a tenth of the time of `inspect.signature`.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

from ...errors import RouteError

__all__ = [
    "EMPTY",
    "Parameter",
    "function_name",
    "is_async_gen_func",
    "is_coro_func",
    "parameters_of",
    "resolve_annotation",
    "where",
]

EMPTY: Final = inspect.Parameter.empty
"""Stands for a missing default value or annotation."""


class Parameter(NamedTuple):
    """A parameter of a function.

    :ivar default: its default value, or `EMPTY`
    :ivar annotation: its annotation as an object, or `EMPTY`
    """

    name: str
    keyword_only: bool
    default: Any
    annotation: Any


def parameters_of(fn: Callable[..., Any]) -> list[Parameter]:
    """Return the parameters of a function without `*args` and `**kwargs`. String annotations are resolved.

    :raises RouteError: an annotation cannot be resolved, and its parameter is not `Depends(...)`
    """
    found = _of_plain_function(fn) if _is_plain(fn) else _of_any(fn)
    return [
        one if not isinstance(one.annotation, str) else one._replace(annotation=_resolved(fn, one)) for one in found
    ]


def _is_plain(fn: Callable[..., Any]) -> bool:
    """Whether the code of a function describes its signature: it is not wrapped and has no `__signature__`."""
    return (
        type(fn) is FunctionType
        and getattr(fn, "__wrapped__", None) is None
        and getattr(fn, "__signature__", None) is None
    )


def _of_plain_function(fn: Any) -> list[Parameter]:
    code, annotations = fn.__code__, fn.__annotations__
    count = code.co_argcount  # includes positional-only parameters
    names = code.co_varnames[: count + code.co_kwonlyargcount]
    defaults, by_keyword = fn.__defaults__ or (), fn.__kwdefaults__ or {}
    without = count - len(defaults)
    return [
        Parameter(
            name,
            at >= count,
            by_keyword.get(name, EMPTY) if at >= count else EMPTY if at < without else defaults[at - without],
            annotations.get(name, EMPTY),
        )
        for at, name in enumerate(names)
    ]


def _of_any(fn: Callable[..., Any]) -> list[Parameter]:
    return [
        Parameter(p.name, p.kind is p.KEYWORD_ONLY, p.default, p.annotation)
        for p in inspect.signature(fn).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def resolve_annotation(fn: Callable[..., Any], name: str) -> Any:
    """Return one of the annotations of a function, such as that of its `return`; `EMPTY` if there is none, or if it
    cannot be resolved.
    """
    found = getattr(inspect.unwrap(fn), "__annotations__", {}).get(name, EMPTY)
    if not isinstance(found, str):
        return found
    try:
        return _resolved(fn, Parameter(name, False, EMPTY, found))  # noqa: FBT003
    except RouteError:
        return EMPTY


def _resolved(fn: Callable[..., Any], parameter: Parameter) -> Any:
    """Evaluate a string annotation (`from __future__ import annotations` makes all of them strings)."""
    text = parameter.annotation
    inner: Any = inspect.unwrap(fn)
    while hasattr(inner, "func"):
        inner = inner.func
    if not hasattr(inner, "__code__"):
        inner = type(inner).__call__
    inner = getattr(inner, "__func__", inner)
    try:
        code = _compiled(text)
        # PERF: copy only the globals that are needed; a module may have thousands.
        names = {name: inner.__globals__[name] for name in _names_in(code) if name in inner.__globals__}
        for name, cell in zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=True):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # the name is bound later in the enclosing function
                continue
        names["__builtins__"] = inner.__globals__.get("__builtins__", builtins)
        return eval(code, names)  # noqa: S307 - the application's own source, as typing.get_type_hints reads it
    except Exception as exc:
        if getattr(parameter.default, "needs_no_annotation", False):
            return EMPTY
        raise RouteError(
            f"{where(fn)}: the annotation {text!r} of argument {parameter.name!r} cannot be resolved "
            f"({type(exc).__name__}: {exc}); define or import it before, at the module's top level, outside "
            "`if TYPE_CHECKING`"
        ) from exc


@lru_cache(maxsize=256)
def _compiled(text: str) -> CodeType:
    return compile(text.strip(), "<string>", "eval")


def _names_in(code: CodeType) -> Iterator[str]:
    """Return the global names that code may look up, including its comprehensions and lambdas."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def is_coro_func(fn: Any) -> bool:
    """Whether calling `fn` returns a coroutine: it, or its `__call__`, is `async def`."""
    if type(fn) is FunctionType and fn.__code__.co_flags & inspect.CO_COROUTINE:
        return True
    if isinstance(fn, type):  # calling it makes an object
        return False
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def is_async_gen_func(fn: Any) -> bool:
    """Whether calling `fn` returns an async generator."""
    if type(fn) is FunctionType:
        return bool(fn.__code__.co_flags & inspect.CO_ASYNC_GENERATOR)
    return inspect.isasyncgenfunction(fn)


def where(fn: Callable[..., Any]) -> str:
    """Return a function's name and place in the source, such as `hello (http_web.py:12)`."""
    inner: Any = fn if _is_plain(fn) else inspect.unwrap(fn)
    while hasattr(inner, "func"):
        inner = inner.func
    code = getattr(inner, "__code__", None)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    name = name.rpartition("<locals>.")[2]
    if code is None:
        return name
    return f"{name} ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})"


def function_name(fn: Callable[..., Any]) -> str:
    """Return the name under which a handler is registered: its `__name__`, or that of its class."""
    while not hasattr(fn, "__name__") and hasattr(fn, "func"):
        fn = fn.func
    return str(getattr(fn, "__name__", type(fn).__name__))
