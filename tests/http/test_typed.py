"""Bodies of JSON that handlers ask for by type."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest

from tests.http.helpers import Response, serving
from tiny_listener import Depends, Event, Listener, RouteError
from tiny_listener.http import Body, HTTPListener, Request


class Item(msgspec.Struct):
    name: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class Order(msgspec.Struct):
    items: list[Item]


class Other(msgspec.Struct):
    x: int


@dataclass
class Point:
    x: int
    y: int = 0


async def total(order: Order) -> int:
    return sum(item.count for item in order.items)


def application() -> HTTPListener:
    app = HTTPListener()

    @app.post("/order")
    async def order(order: Order, event: Event) -> list[Any]:
        return [event.route.path, [item.name for item in order.items]]

    @app.post("/point")
    async def point(*, body: Point) -> list[int]:
        return [body.x, body.y]

    @app.post("/maybe")
    async def maybe(body: Point | None = None) -> list[Any]:
        return [body and body.x]

    @app.post("/list")
    async def a_list(numbers: Annotated[list[Annotated[int, msgspec.Meta(le=9)]], Body]) -> int:
        return sum(numbers)

    @app.post("/meta")
    async def meta(number: Annotated[int, msgspec.Meta(le=9), Body]) -> int:
        return number

    @app.post("/depends")
    async def depends(order: Order, n: int = Depends(total)) -> list[int]:
        return [len(order.items), n]

    @app.post("/json")
    async def json(request: Request) -> int:
        return (await request.json(type=Point)).x

    @app.post("/stream")
    async def stream(point: Point) -> Any:
        yield str(point.x)

    return app


async def ask(server: Any, path: str, body: bytes, content_type: str | None = "application/json") -> Response:
    kind = "" if content_type is None else f"Content-Type: {content_type}\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
    response: Response = await server.ask(head.encode() + body)
    return response


@pytest.mark.parametrize(
    ("path", "body", "status", "answer"),
    [
        ("/order", b'{"items":[{"name":"a"},{"name":"b","count":2}]}', 200, b'["POST:/order",["a","b"]]'),
        ("/order", b'{"items":[{"name":1}]}', 422, b"Expected `str`, got `int` - at `$.items[0].name`\n"),
        ("/order", b'{"items":[{"name":"a","count":0}]}', 422, b"Expected `int` >= 1 - at `$.items[0].count`\n"),
        ("/order", b"{}", 422, b"missing required field `items`\n"),
        ("/order", b'{"items":[', 400, b"the body is not JSON: Input data was truncated\n"),
        ("/order", b"", 400, b"the body is not JSON: Input data was truncated\n"),
        ("/order", b'{"items":[{"name":"\xff"}]}', 400, b"\n"),
        ("/order", b'{"x":' + b"[" * 100_000, 400, b"the body is nested too deeply\n"),
        ("/point", b'{"x":1}', 200, b"[1,0]"),
        ("/point", b'{"x":"1"}', 422, b"the body does not fit: Expected `int`, got `str` - at `$.x`\n"),
        ("/maybe", b'{"x":1}', 200, b"[1]"),
        ("/maybe", b"null", 200, b"[null]"),
        ("/maybe", b"", 200, b"[null]"),
        ("/maybe", b"1", 422, b"\n"),
        ("/list", b"[1,2]", 200, b"3"),
        ("/list", b"[1,10]", 422, b"at `$[1]`\n"),
        ("/meta", b"9", 200, b"9"),
        ("/meta", b"10", 422, b"<= 9\n"),
        ("/depends", b'{"items":[{"name":"a","count":3}]}', 200, b"[1,3]"),
        ("/json", b'{"x":4}', 200, b"4"),
        ("/json", b'{"y":4}', 422, b"`x`\n"),
        ("/json", b"}", 400, b"\n"),
        ("/stream", b'{"x":4}', 200, b"4"),
        ("/stream", b"{}", 422, b"`x`\n"),
    ],
)
def test_bodies(runner: asyncio.Runner, path: str, body: bytes, status: int, answer: bytes) -> None:
    async def main() -> None:
        async with serving(application()) as server:
            response = await ask(server, path, body)
            assert response.status == status, response.body
            assert response.body.endswith(answer)
            assert status == 200 or response.body.count(b"\n") == 1

    runner.run(main())


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON ; charset=utf-8", 200),
        ("application/problem+json", 200),
        ("text/json", 415),
        ("text/x+json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonx", 415),
        ("", 415),
        (None, 415),
    ],
)
def test_content_types(runner: asyncio.Runner, content_type: str | None, status: int) -> None:
    async def main() -> None:
        async with serving(application()) as server:
            response = await ask(server, "/point", b'{"x":1}', content_type)
            assert (response.status, response.headers.get("accept")) == (
                status,
                "application/json" if status == 415 else None,
            )
            assert (await ask(server, "/json", b'{"x":1}', content_type)).status == 200

    runner.run(main())


def test_a_body_that_comes_later(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving(application()) as server:
            client = await server.connect()
            head = b"POST /point HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            for byte in head + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"x"\r\n3\r\n:1}\r\n0\r\n\r\n':
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.receive()).body == b"[1,0]"

    runner.run(main())


def test_types_that_cannot_be_decoded() -> None:
    app = HTTPListener()
    with pytest.raises(RouteError, match=r"both .*argument 'body'"):

        @app.post("/")
        async def both(body: Order | Other) -> None:
            """Which of them is not told apart."""


class Plain:
    """Nothing that JSON has a form for."""


class Holder(msgspec.Struct):
    plain: Plain


@dataclass
class DataHolder:
    plain: list[Plain]


class Tree(msgspec.Struct):
    leaves: list[Tree]


@pytest.mark.parametrize(
    "kind",
    [
        Plain, list[Plain], dict[str, Plain], tuple[Plain, ...], tuple[int, Plain], Plain | None, Holder, list[Holder],
        DataHolder, complex, type, Annotated[Plain, "x"],
    ],
    ids=str,
)  # fmt: skip
def test_what_json_has_no_form_for_is_refused_where_it_is_registered(kind: Any) -> None:
    app = HTTPListener()

    async def handler(body: Any) -> None:
        """Never called."""

    handler.__annotations__["body"] = Annotated[kind, Body]
    with pytest.raises(RouteError, match=r"handler .*argument 'body' .*JSON has no .*make it a msgspec.Struct or a"):
        app.post("/")(handler)


@pytest.mark.parametrize("kind", [Tree, list[int], dict[str, Any], Any, bytes, Tree | None, int | str], ids=str)
def test_what_json_has_a_form_for_is_taken(kind: Any) -> None:
    app = HTTPListener()

    async def handler(body: Any) -> None:
        """Never called."""

    handler.__annotations__["body"] = Annotated[kind, Body]
    app.post("/")(handler)


def test_other_events_have_no_body(runner: asyncio.Runner) -> None:
    class App(Listener):
        async def listen(self) -> None:
            """Nothing."""

    app = App()

    @app.on_event("plain")
    async def plain(point: Point, other: Point = Point(1)) -> list[Any]:  # noqa: B008
        return [point, other]

    @app.on_event("marked")
    async def marked(point: Annotated[Point, Body]) -> None:
        """Never called."""

    async def main() -> None:
        assert await app.trigger_event("plain") == [None, Point(1)]
        with pytest.raises(Exception, match="came from no HTTP request"):
            await app.trigger_event("marked")

    runner.run(main())


def test_marker() -> None:
    assert repr(Body) == "Body"
