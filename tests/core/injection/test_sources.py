"""Arguments that say more than once where they come from, and aliases of types."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from typing_extensions import TypeAliasType

from tiny_listener import Data, Depends, Listener, Param, RouteError
from tiny_listener.http import Cookie, Header, HTTPListener, Query


async def fetch() -> str:
    return "x"


@pytest.mark.parametrize(
    ("annotation", "default", "names"),
    [
        (Annotated[str, Header, Query], ..., "Header and Query"),
        (Annotated[str, Header], Query("z"), r"Header and Query\('z'\)"),
        (Annotated[str, Depends(fetch)], Cookie(), r"Depends\(fetch\) and Cookie\(\)"),
        (Annotated[str, Param, Data], ..., "Param and Data"),
        (Annotated[str, Header], Depends(fetch), r"Header and Depends\(fetch\)"),
    ],
)
def test_two_sources_are_one_too_many(annotation: Any, default: Any, names: str) -> None:
    async def one(v: Any) -> None: ...
    async def two(v: Any = default) -> None: ...

    handler = one if default is ... else two
    handler.__annotations__["v"] = annotation
    with pytest.raises(RouteError, match=rf"the argument \'v\' comes from {names}: keep one of them"):
        HTTPListener().get("/{v}")(handler)


def test_an_alias_is_what_it_stands_for() -> None:
    """As of `type Id = int`, which is syntax from Python 3.12 on."""
    app = Listener()

    async def handler(v: Any, w: Any = None) -> Any:
        return [v, w]

    handler.__annotations__.update(v=TypeAliasType("Id", int), w=TypeAliasType("Maybe", int | None))
    app.add_on_event_hook(handler, "x {v}")

    async def main() -> None:
        assert await app.trigger_event("x 7") == [7, None]
        assert await app.trigger_event("x 7", data={"w": 3}) == [7, 3]

    asyncio.run(main())
