"""What a function asks for, as inspect sees it, read in a fraction of the time."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest

from tiny_listener.core.injection.signatures import EMPTY, is_async_gen_func, is_coro_func, parameters_of, where
from tiny_listener.errors import RouteError


class Explains:
    """A default value that says alone what its argument gets."""

    needs_no_annotation = True


class Local:
    async def method(self, a: int, *, b: str = "b") -> None: ...

    async def __call__(self, a: int) -> None: ...


async def none() -> None: ...
async def several(a, b: int, /, c: str = "c", *rest: Any, d, e: bytes = b"e", **more: Any) -> None: ...  # type: ignore[no-untyped-def]
async def generator(a: int = 1) -> AsyncIterator[int]:
    yield a


def plain(a: int) -> int:
    return a


@functools.wraps(several)
async def wrapped(*args: Any, **kwargs: Any) -> None: ...


async def signed(*args: Any) -> None: ...


signed.__signature__ = inspect.Signature([inspect.Parameter("other", inspect.Parameter.KEYWORD_ONLY)])  # type: ignore[attr-defined]
partial = functools.partial(several, 1)


@pytest.mark.parametrize(
    "fn", [none, several, generator, plain, wrapped, signed, partial, Local().method, Local(), Local.method]
)
def test_parameters_are_those_of_inspect(fn: Callable[..., Any]) -> None:
    expected = [
        (p.name, p.kind is p.KEYWORD_ONLY, p.default)
        for p in inspect.signature(fn).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    assert [tuple(found)[:3] for found in parameters_of(fn)] == expected
    assert is_coro_func(fn) == (inspect.iscoroutinefunction(fn) or isinstance(fn, Local))
    assert is_async_gen_func(fn) == inspect.isasyncgenfunction(fn)


def test_texts_of_annotations_are_resolved_among_the_names_that_are_seen_there() -> None:
    kind = Local
    bound_later: Any

    async def handler(
        a: Local,
        b: kind | None,  # type: ignore[valid-type]
        c: Annotated[list[int], [x + 1 for x in range(3)]],
        d: bound_later = Explains(),  # noqa: B008
        e: nowhere = Explains(),  # type: ignore[name-defined]  # noqa: B008, F821
    ) -> None:
        print(bound_later, kind)

    annotations = [found.annotation for found in parameters_of(handler)]
    bound_later = int
    assert annotations == [Local, Local | None, Annotated[list[int], [1, 2, 3]], EMPTY, EMPTY]
    assert parameters_of(handler)[3].annotation is int

    async def bad(a: nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    async def default(a: nowhere = 3) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for fn in (bad, default):
        with pytest.raises(RouteError, match=r"\(test_signatures.py:\d+\): the annotation 'nowhere' of argument 'a'"):
            parameters_of(fn)


def test_where() -> None:
    line = none.__code__.co_firstlineno
    assert where(none) == f"none (test_signatures.py:{line})"
    assert where(wrapped).startswith("several (")
    assert where(partial).startswith("several (")
    assert where(Local()) == "Local"
