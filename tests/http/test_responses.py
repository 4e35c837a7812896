"""What handlers return, and what becomes of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.http.helpers import serving
from tiny_listener.http import HTTPListener, Response
from tiny_listener.http.testing import TestClient

HOST = b"Host: x\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "status", "content_type", "body"),
    [
        ("/", 200, "text/plain; charset=utf-8", b"Welcome!"),
        ("/user/Bob", 200, "text/plain; charset=utf-8", b"Hello, Bob!"),
        ("/user/Bob?x=1&y=/z", 200, "text/plain; charset=utf-8", b"Hello, Bob!"),
        ("/user/J%C3%BCrgen", 200, "text/plain; charset=utf-8", "Hello, Jürgen!".encode()),
        ("/user/a%2Fb%2fc", 200, "text/plain; charset=utf-8", b"Hello, a/b/c!"),
        ("/%75ser/Bob", 200, "text/plain; charset=utf-8", b"Hello, Bob!"),
        ("/user/a%2525", 200, "text/plain; charset=utf-8", b"Hello, a%25!"),
        ("http://elsewhere/user/Bob", 200, "text/plain; charset=utf-8", b"Hello, Bob!"),
        ("http://elsewhere", 200, "text/plain; charset=utf-8", b"Welcome!"),
        ("/number/12", 200, "application/json", b'{"n":12}'),
        ("/bytes", 200, "application/octet-stream", b"\x00\x01"),
        ("/list", 200, "application/json", b"[1,2]"),
        ("/point", 200, "application/json", b'{"x":1,"y":2}'),
        ("/response", 201, "text/x-made", b"made"),
        ("/stream", 200, "text/plain; charset=utf-8", b"one\ntwo\n"),
        ("/handled", 418, "text/plain; charset=utf-8", b"no 'thing'"),
        ("/fail", 500, "text/plain; charset=utf-8", b"Internal Server Error\n"),
        ("/object", 500, "text/plain; charset=utf-8", b"Internal Server Error\n"),
        ("/nothing", 404, "text/plain; charset=utf-8", b"Page Not Found\n"),
        ("/user/a/b", 404, "text/plain; charset=utf-8", b"Page Not Found\n"),
        ("/number/x", 404, "text/plain; charset=utf-8", b"Page Not Found\n"),
    ],
)
def test_responses(runner: asyncio.Runner, target: str, status: int, content_type: str, body: bytes) -> None:
    async def main() -> None:
        async with serving() as server:
            response = await server.get(target)
            assert (response.status, response.headers["content-type"], response.body) == (status, content_type, body)
            assert response.headers["date"].endswith("GMT")

    runner.run(main())


def test_no_content(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            response = await client.ask(b"GET /none HTTP/1.1\r\n" + HOST)
            assert response.status == 204
            assert not {"content-length", "content-type", "transfer-encoding"} & response.headers.keys()
            assert (await client.ask(b"GET / HTTP/1.1\r\n" + HOST)).body == b"Welcome!"

    runner.run(main())


@pytest.mark.parametrize("told", [{}, {"cache-control": "max-age=60", "expires": "0", "pragma": "x", "age": "1"}])
def test_what_caches_are_told_is_the_applications_word(runner: asyncio.Runner, told: dict[str, str]) -> None:
    app = HTTPListener()

    @app.get("/")
    async def answer() -> Response:
        return Response("content", headers=told)

    async def main() -> None:
        async with serving(app) as server:
            for target, words in (("/", told), ("/nothing", {})):
                headers = (await server.get(target)).headers
                assert {
                    name: headers[name] for name in ("cache-control", "expires", "pragma", "age") if name in headers
                } == words

    runner.run(main())


@pytest.mark.parametrize(
    ("body", "content_type", "content"),
    [
        ({"a": [1]}, "application/json", b'{"a":[1]}'),
        ([], "application/json", b"[]"),
        (7, "application/json", b"7"),
        (memoryview(b"x"), "application/octet-stream", b"x"),
        ("x", "text/plain; charset=utf-8", b"x"),
    ],
)
def test_a_body_is_what_a_handler_may_return(body: object, content_type: str, content: bytes) -> None:
    app = HTTPListener()

    @app.get("/")
    async def made() -> Response:
        return Response(body, 201)

    @app.get("/typed")
    async def typed() -> Response:
        return Response(body, content_type="application/x-mine")

    client = TestClient(app)
    response = client.get("/")
    assert (response.status_code, response.headers["content-type"], response.content) == (201, content_type, content)
    response = client.get("/typed")
    assert (response.headers["content-type"], response.content) == ("application/x-mine", content)


@pytest.mark.parametrize("body", [None, object(), iter([b"x"]), Response])
def test_what_is_no_body(body: object) -> None:
    with pytest.raises(TypeError, match=r"body of a response must be bytes, .*, not \w+"):
        Response(body)


def test_a_205_has_no_content(runner: asyncio.Runner) -> None:
    app = HTTPListener()

    @app.get("/")
    async def reset() -> Response:
        return Response("content", 205)

    async def main() -> None:
        async with serving(app) as server:
            response = await server.get("/")
            assert (response.status, response.headers["content-length"], response.body) == (205, "0", b"")

    runner.run(main())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"headers": {"a\r\nb": "c"}}, "is not a header name"),
        ({"headers": {"": "c"}}, "is not a header name"),
        ({"headers": {"a": "b\r\nc: d"}}, "control character"),
        ({"headers": {"a": "\0"}}, "control character"),
        ({"headers": {"a": "\u20ac"}}, "Latin-1"),
        ({"headers": {"Content-Length": "1"}}, "the server writes"),
        ({"headers": [("Transfer-Encoding", "chunked")]}, "the server writes"),
        ({"content_type": "a\nb"}, "control character"),
        ({"status": 99}, "200 to 599"),
        ({"status": 600}, "200 to 599"),
        ({"status": "200"}, "200 to 599"),
    ],
)
def test_responses_that_http_does_not_allow(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Response("x", **arguments)  # type: ignore[arg-type]
