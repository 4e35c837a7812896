"""Bodies of JSON that handlers ask for by type."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest

from tests.http.helpers import Response, serving
from tiny_listener import Depends, Event, EventDataError, Listener, RouteError
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
        ("/order", b'{"items":[{"name":1}]}', 422, b"Expected `str`, got `int`"),
        ("/order", b'{"items":[{"name":"a","count":0}]}', 422, b"Expected `int` >= 1"),
        ("/order", b"{}", 422, b"missing required field `items`"),
        ("/order", b'{"items":[', 400, b"the body is not JSON: Input data was truncated"),
        ("/order", b"", 400, b"the body is not JSON: Input data was truncated"),
        ("/order", b'{"items":[{"name":"\xff"}]}', 400, b""),
        ("/order", b'{"x":' + b"[" * 100_000, 400, b"the body is nested too deeply"),
        ("/point", b'{"x":1}', 200, b"[1,0]"),
        ("/point", b'{"x":"1"}', 422, b"body at $.x: Expected `int`, got `str`"),
        ("/maybe", b'{"x":1}', 200, b"[1]"),
        ("/maybe", b"null", 200, b"[null]"),
        ("/maybe", b"", 200, b"[null]"),
        ("/maybe", b"1", 422, b""),
        ("/list", b"[1,2]", 200, b"3"),
        ("/list", b"[1,10]", 422, b"Expected `int` <= 9"),
        ("/meta", b"9", 200, b"9"),
        ("/meta", b"10", 422, b"<= 9"),
        ("/depends", b'{"items":[{"name":"a","count":3}]}', 200, b"[1,3]"),
        ("/json", b'{"x":4}', 200, b"4"),
        ("/json", b'{"y":4}', 422, b"`x`"),
        ("/json", b"}", 400, b""),
        ("/stream", b'{"x":4}', 200, b"4"),
        ("/stream", b"{}", 422, b"`x`"),
    ],
)
def test_bodies(runner: asyncio.Runner, path: str, body: bytes, status: int, answer: bytes) -> None:
    async def main() -> None:
        async with serving(application()) as server:
            response = await ask(server, path, body)
            assert response.status == status, response.body
            text = response.body
            if response.headers["content-type"] == "application/problem+json":
                problem = msgspec.json.decode(text)
                assert (problem["status"], len(problem["errors"])) == (status, 1)
                text = problem["detail"].encode()
            assert text.rstrip(b"\n").endswith(answer)

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
    async def plain(point: Point = Point(1)) -> Point:  # noqa: B008
        return point

    with pytest.raises(RouteError, match=r"'point' is a Body of a request, and no request has this event"):

        @app.on_event("marked")
        async def marked(point: Annotated[Point, Body]) -> None:
            """Never called."""

    async def main() -> None:
        assert await app.trigger_event("plain") == Point(1)
        assert await app.trigger_event("plain", data={"x": 2}) == Point(2)
        with pytest.raises(EventDataError, match=r"plain .*data: Expected `int`, got `str`"):
            await app.trigger_event("plain", data={"x": "2"})

    runner.run(main())
