"""The OpenAPI document: what signatures say, validated by a validator of others."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

import datetime as dt
import enum
import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from tiny_listener import Depends, Listener
from tiny_listener.cli.main import main as command
from tiny_listener.http import Body, Cookie, Group, Header, HTTPListener, Query, Request, Response
from tiny_listener.http.openapi import Info, describe
from tiny_listener.http.testing import TestClient


class Color(enum.Enum):
    RED = "red"


class Item(msgspec.Struct):
    name: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


@dataclass
class Order:
    items: list[Item]
    color: Color | None = None


class Model(pydantic.BaseModel):
    inner: list[int]


async def paging(page: int = 1, size: Annotated[int, msgspec.Meta(le=100)] = 20) -> int:
    return page * size


def application() -> HTTPListener:
    app = HTTPListener()
    shop = Group(prefix="/shops/{shop:int}", name="shop")

    @shop.get("/orders/{order}", tags=["orders"], responses={410: "It was deleted", 409: Item})
    async def find(
        order: uuid.UUID, shop: int, when: dt.date | None = None, skip: int = Depends(paging)
    ) -> Order | None:
        """Find an order.

        By its number.
        """

    @shop.post("/orders/{number}", deprecated=True, summary="Make it")
    async def make(
        order: Order, key: Annotated[str, Header("x-key")], session: Annotated[str, Cookie], color: Color = Color.RED
    ) -> Response: ...

    @app.put("/models")
    async def models(
        many: Annotated[list[Model], Body], tag: Annotated[list[str], Query]
    ) -> Model | dict[str, int]: ...

    @app.get("/text")
    async def text(request: Request) -> str: ...

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield ""

    @app.get("/files/{path:path}")
    async def files(path: str) -> bytes: ...

    @app.get("/hidden", include_in_schema=False)
    async def hidden() -> None: ...

    @app.route("PURGE", "/cache")
    async def purge() -> None: ...

    @app.on_event("order {id}")
    async def event(id: int) -> None: ...  # noqa: A002

    app.include(shop)
    return app


def test_the_document_of_an_application() -> None:
    document = describe(application(), Info("Shop", "1.2.3", "Sells things."))
    validate(document)
    assert json.loads(json.dumps(document)) == document
    assert document["info"] == {"title": "Shop", "version": "1.2.3", "description": "Sells things."}
    assert set(document["paths"]) == {
        "/models", "/text", "/stream", "/files/{path}", "/shops/{shop}/orders/{order}",
    }  # fmt: skip
    find = document["paths"]["/shops/{shop}/orders/{order}"]["get"]
    assert (find["operationId"], find["summary"], find["description"]) == (
        "shop.find",
        "Find an order.",
        "By its number.",
    )
    assert find["tags"] == ["orders"]
    assert [(p["name"], p["in"], p["required"], p["schema"]) for p in find["parameters"]] == [
        ("shop", "path", True, {"type": "integer", "minimum": 0}),
        ("order", "path", True, {"type": "string", "format": "uuid"}),
        ("when", "query", False, {"type": "string", "format": "date"}),
        ("page", "query", False, {"type": "integer", "default": 1}),
        ("size", "query", False, {"type": "integer", "maximum": 100, "default": 20}),
    ]
    assert set(find["responses"]) == {"200", "204", "400", "404", "409", "410", "422"}
    assert find["responses"]["410"] == {"description": "It was deleted"}
    reference = {"$ref": "#/components/schemas/Order"}
    assert find["responses"]["200"]["content"] == {"application/json": {"schema": reference}}
    make = document["paths"]["/shops/{shop}/orders/{order}"]["post"]
    assert (make["summary"], make["deprecated"], make["tags"]) == ("Make it", True, ["shop"])
    assert [p["name"] for p in make["parameters"]] == ["shop", "order", "x-key", "session", "color"]
    assert make["requestBody"] == {"required": True, "content": {"application/json": {"schema": reference}}}
    assert make["parameters"][-1]["schema"] == {"$ref": "#/components/schemas/Color", "default": "red"}
    models = document["paths"]["/models"]["put"]
    assert models["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"][0] == {
        "$ref": "#/components/schemas/Model"
    }
    assert set(document["components"]["schemas"]) == {"Problem", "Order", "Item", "Color", "Model"}
    assert list(document["paths"]["/text"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


@given(
    st.lists(st.sampled_from("/ab{}%? #é") | st.just("{{") | st.just("}}") | st.just("{x}"), max_size=8), st.booleans()
)
def test_any_pattern_is_a_valid_path(parts: list[str], is_post: bool) -> None:
    app = HTTPListener()

    async def handler() -> None: ...

    pattern = "/" + "".join(parts)
    try:
        app.route("POST" if is_post else "GET", pattern)(handler)
    except Exception:  # not a pattern
        return
    document = describe(app, Info())
    (path,) = document["paths"]
    assert path.startswith("/")
    assert not set(path) & set("?# é")
    assert "{" not in re.sub(r"{[abx]+}", "", path)  # doubled braces are literal ones, which are encoded


def test_the_routes_that_serve_it() -> None:
    app = application()
    app.openapi(title="<Shop>", description="<script>alert(1)</script>")

    @app.get("/late")
    async def late() -> None: ...

    with TestClient(app) as client:
        document = client.get("/openapi.json")
        assert document.headers["content-type"] == "application/json"
        assert document.json()["info"]["title"] == "<Shop>"
        assert "/late" in document.json()["paths"]
        assert "/openapi.json" not in document.json()["paths"]
        page = client.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "<script>alert" not in page.text
        assert "&lt;Shop&gt;" in page.text
        assert "http://" not in page.text
        assert "https://" not in page.text
        assert "/shops/{shop}/orders/{order}" in page.text


def test_without_a_page() -> None:
    app = HTTPListener()
    app.openapi("/api.json", page=None)
    with TestClient(app) as client:
        assert client.get("/api.json").json()["paths"] == {}
        assert client.get("/docs").status_code == 404


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "described.py").write_text(
        "from tiny_listener import Listener\n"
        "from tiny_listener.http import HTTPListener\n"
        "plain = Listener()\n"
        "app = HTTPListener()\n"
        "@app.get('/x/{n}')\n"
        "async def x(n: int) -> int: ...\n"
    )
    assert run("--app-dir", str(tmp_path), "--openapi", "described:app") == 0
    document = json.loads(capsys.readouterr().out)
    validate(document)
    assert document["info"] == {"title": "described:app", "version": "0.1.0"}
    assert list(document["paths"]) == ["/x/{n}"]
    assert run("--app-dir", str(tmp_path), "--openapi", "described:plain") == 2
    assert "--openapi describes an HTTPListener, and described:plain is a Listener" in capsys.readouterr().err


def run(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as caught:
        command(list(arguments))
    return caught.value.code or 0


def test_a_listener_without_requests_has_no_paths() -> None:
    assert describe(Listener(), Info())["paths"] == {}


def test_a_response_of_which_the_options_say_the_status_is_not_a_200_too() -> None:
    app = HTTPListener()

    @app.post("/said", responses={201: Item, 401: "Who are you?"})
    async def said() -> Response: ...

    @app.post("/half", responses={401: "Who are you?"})
    async def half() -> Response: ...

    @app.post("/both", responses={201: "It is new"})
    async def both() -> Item: ...

    paths = describe(app, Info())["paths"]
    assert list(paths["/said"]["post"]["responses"]) == ["201", "401"]
    assert list(paths["/half"]["post"]["responses"]) == ["200", "401"]
    assert list(paths["/both"]["post"]["responses"]) == ["200", "201"]


def test_folders_of_files_are_not_described(tmp_path: Path) -> None:
    app = HTTPListener()
    app.static("/assets", tmp_path)
    assert describe(app, Info())["paths"] == {}


def test_the_description_of_a_parameter_is_where_pages_look_for_it() -> None:
    app = HTTPListener()

    @app.get("/")
    async def find(limit: Annotated[int, msgspec.Meta(le=9, description="At most so many.")] = 3) -> None: ...

    operation = describe(app, Info())["paths"]["/"]["get"]
    (limit,) = operation["parameters"]
    assert limit["description"] == "At most so many."
    assert limit["schema"] == {"type": "integer", "maximum": 9, "default": 3}
    assert operation["responses"]["422"]["description"] == "Unprocessable Content"
