"""What who comes from FastAPI or Flask writes first, and what they are told: what is right here."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest

import tiny_listener.http
from tiny_listener import Data, Depends, EventDataError, EventGroup, RouteError
from tiny_listener.http import Group, Header, HTTPListener, Request
from tiny_listener.http.testing import TestClient

WRITTEN = {
    "@app.get('/')\nasync def f(x: int | None = Query(None)): ...": "for a default value write Query(default=None)",
    "@app.get('/')\nasync def f(x: int = Query(...)): ...": "what has no default must be there: write Query()",
    "@app.get('/')\nasync def f(x: int = Query(ge=1)): ...": "Annotated[T, Query, msgspec.Meta(ge=1)]",
    "@app.get('/')\nasync def f(x: str = Query(alias='from')): ...": "write the name first, Query('from')",
    "@app.post('/')\nasync def f(x: str = Body(embed=True)): ...": "make it a field of a Struct or dataclass",
    "@app.post('/')\nasync def f(x: list[Item]): ...": "any other type is with Annotated[T, Body]",
    "@app.post('/')\nasync def f(x: dict): ...": "any other type is with Annotated[T, Body]",
    "@app.post('/')\nasync def f(x: bytes): ...": "take request: Request, and its `await request.body()`",
    "@app.post('/')\nasync def f(x: Upload): ...": "a form is read by `await request.form()`",
    "@app.get('/')\nasync def f(x: Response): ...": "a hook of @app.on_response gets it",
    "@app.get('/')\nasync def f(x: HTTPListener): ...": "its event.listener",
    "@app.get('/')\nasync def f(x=Depends()): ...": "write Depends(fn) with the function that makes the value",
    "@app.get('/')\nasync def f(x=Depends(Item)): ...": "Depends(Item) is given a class",
    "@app.get('/')\nasync def f(x: str = Depends): ...": "has Depends without a function",
    "@app.get('/')\nasync def f(x: str = dependency): ...": "the function dependency itself: write Depends(dependency)",
    "@app.get('/')\nasync def f(x=generator): ...": "write Depends(generator)",
    "@app.get('/')\nasync def f(x: Annotated[str, dependency]): ...": "write Depends(dependency)",
    "@app.post('/', status_code=201)\nasync def f(): ...": "'status_code': return Response(body, status=201)",
    "@app.get('/', dependencies=[Depends(dependency)])\nasync def f(): ...": "Group(dependencies=",
    "@app.get('/<id>')\nasync def f(): ...": "write {id}",
    "@app.get('/x/<int:id>/y')\nasync def f(): ...": "write {id}, or {id:int}",
    "@app.get('/:id')\nasync def f(): ...": "write {id}",
    "@app.get('/{int:id}')\nasync def f(): ...": "write {id:int}: the name comes first",
    "@app.on_event('startup')\nasync def f(): ...": "write @app.startup",
    "@app.on_error(404)\nasync def f(): ...": "for responses of a status @app.on_status(404)",
    "@app.lifespan\ndef f(): yield": "is no lifespan: write an async generator",
    "app.include(HTTPListener())": "include() takes a group, not HTTPListener",
    "@app.middleware('http')\nasync def f(): ...": "write @app.before_event",
    "Group().include_router(Group())": "write app.include(group)",
    "HTTPListener(title='x')": "has no setting 'title': write app.openapi(title=...)",
    "HTTPListener(titel='x')": "HTTPListener has no setting 'titel'",
    "from tiny_listener.http import APIRouter": "write Group",
    "from tiny_listener.http import HTTPException": "write HTTPError",
    "app.state.db": "has no 'db' (it has: nothing): a lifespan yields {'db': ...}",
    "HTTPError(404, {'a': 1})": "the detail of an HTTPError is one line of text, not dict",
    "Response(None, 204)": "for a response without a body write Response(status=204)",
}


class Item(msgspec.Struct):
    a: int


async def dependency() -> str:
    return "x"


async def generator() -> Any:
    yield "x"


@pytest.mark.parametrize("written", WRITTEN)
def test_what_is_right_is_said_where_it_is_written(written: str) -> None:
    names = {
        **{name: getattr(tiny_listener.http, name) for name in tiny_listener.http.__all__},
        "app": HTTPListener(),
        "Depends": Depends,
        "Annotated": Annotated,
        "Item": Item,
        "dependency": dependency,
        "generator": generator,
    }
    with pytest.raises((TypeError, ValueError, AttributeError, ImportError, RouteError)) as refused:
        exec(textwrap.dedent(written), names)
    assert WRITTEN[written] in str(refused.value)


@pytest.mark.parametrize("path", ["/a:b", "/v1/users:batch", "/<", "/<a", "/:", "/a<b>", "/:1"])
def test_what_only_looks_like_a_parameter_is_a_path(path: str) -> None:
    app = HTTPListener()

    @app.get(path)
    async def page() -> str:
        return "page"

    with TestClient(app) as client:
        assert client.get(path.replace("<", "%3C").replace(">", "%3E")).text == "page"


def test_another_name_is_an_attribute_that_is_missing() -> None:
    for thing in (tiny_listener.http, HTTPListener(), Group()):
        assert not hasattr(thing, "anything")


def test_a_request_says_where_its_query_is() -> None:
    app = HTTPListener()

    @app.get("/")
    async def page(request: Request) -> str:
        return str(request.query_params["q"])  # type: ignore[attr-defined]

    with TestClient(app) as client, pytest.raises(AttributeError, match=re.escape("write request.query")):
        client.get("/")


def default_query(app: HTTPListener) -> None:
    @app.get("/")
    async def page(q: list[int] = []) -> list[int]:  # noqa: B006
        q.append(1)
        return q


def default_unknown(app: HTTPListener) -> None:
    @app.get("/")
    async def page(q: list[Item] = []) -> int:  # noqa: B006
        q.append(Item(1))
        return len(q)


def default_header(app: HTTPListener) -> None:
    @app.get("/")
    async def page(q: list[str] = Header("x-q", default=[])) -> int:  # noqa: B008
        q.append("1")
        return len(q)


@pytest.mark.parametrize("define", [default_query, default_unknown, default_header])
def test_a_default_that_a_handler_changes_is_not_changed_for_the_next(define: Callable[[HTTPListener], None]) -> None:
    app = HTTPListener()
    define(app)
    with TestClient(app) as client:
        assert client.get("/").text == client.get("/").text


def test_an_item_of_the_data_that_was_meant_is_named() -> None:
    app, plain = HTTPListener(), EventGroup()

    @plain.on_event("wrong")
    async def wrong(item: Item) -> None: ...

    @plain.on_event("right")
    async def right(item: Annotated[Item, Data]) -> int:
        return item.a

    @app.get("/{which}")
    async def page(which: str) -> str:
        try:
            return str(await app.trigger_event(which, data={"item": Item(7)}))
        except EventDataError as exc:
            return str(exc)

    app.include(plain)
    with TestClient(app) as client:
        assert client.get("/right").text == "7"
        assert "for the item 'item' write Annotated[Item, Data]" in client.get("/wrong").text


def test_a_dependency_of_a_group_that_an_event_cannot_have_names_the_handler() -> None:
    async def token(authorization: Annotated[str, Header]) -> str:
        return authorization

    group = Group(dependencies=[Depends(token)])

    @group.subscribe("order {number:int} placed")
    async def bill(number: int) -> None: ...

    with pytest.raises(RouteError, match=r"it runs before bill \(test_mistakes.py:\d+\) because a group has it"):
        HTTPListener().include(group)
