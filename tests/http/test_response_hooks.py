"""`on_response` and `on_status`: every response, also those that the server makes, what they change."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.helpers import serving
from tests.http.hooks_app import application
from tests.http.walls import get, http_of, until
from tiny_listener.http import FileResponse, HTTPError, HTTPListener, Request, Response, StreamingResponse
from tiny_listener.http.testing import TestClient

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


def tell(app: HTTPListener) -> list[tuple[str | None, int]]:
    """Add a hook that marks each response; return what it saw."""
    seen: list[tuple[str | None, int]] = []

    @app.on_response
    async def mark(request: Request | None, response: Response) -> None:
        seen.append((None if request is None else request.method, response.status))
        response.headers["x-seen"] = str(response.status)

    return seen


HOST = b"Host: x\r\n\r\n"
CHUNKS = b"POST /json HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"b\r\n12345678901\r\n"
REQUESTS: dict[str, tuple[bytes, int, bool]] = {
    "200": (get("/"), 200, True),
    "200 late": (get("/late"), 200, True),
    "204": (get("/none"), 204, True),
    "200 stream": (get("/stream"), 200, True),
    "200 file": (get("/file"), 200, True),
    "304": (get("/file", fields="If-None-Match: *\r\n"), 304, True),
    "206": (get("/file", fields="Range: bytes=0-1\r\n"), 206, True),
    "416": (get("/file", fields="Range: bytes=99-\r\n"), 416, True),
    "412": (get("/file", fields='If-Match: "x"\r\n'), 412, True),
    "404 file": (get("/no-file"), 404, True),
    "404": (get("/nothing"), 404, True),
    "405": (b"PUT / HTTP/1.1\r\n" + HOST, 405, True),
    "204 OPTIONS": (b"OPTIONS / HTTP/1.1\r\n" + HOST, 204, True),
    "204 OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + HOST, 204, True),
    "501": (b"BREW / HTTP/1.1\r\n" + HOST, 501, True),
    "500": (get("/fail"), 500, True),
    "500 unsendable": (get("/unsendable"), 500, True),
    "429": (get("/error/429"), 429, True),
    "503 raised": (get("/error/503"), 503, True),
    "415": (get("/form", fields="Content-Length: 1\r\n") + b"x", 415, True),
    "422": (b"POST /json HTTP/1.1\r\nContent-Length: 3\r\n" + HOST + b'"a"', 422, True),
    "400 JSON": (b"POST /json HTTP/1.1\r\nContent-Length: 1\r\n" + HOST + b"x", 400, True),
    "413": (b"POST /json HTTP/1.1\r\nContent-Length: 11\r\n" + HOST, 413, True),
    "413 in chunks": (CHUNKS, 413, True),
    "400": (b"nonsense\r\n\r\n", 400, False),
    "400 no host": (b"GET / HTTP/1.1\r\n\r\n", 400, False),
    "414": (b"GET /" + b"x" * 400 + b" HTTP/1.1\r\n" + HOST, 414, False),
    "431": (get("/", fields="x: " + "y" * 300 + "\r\n"), 431, False),
    "417": (get("/", fields="Expect: x\r\n"), 417, False),
    "505": (get("/", version="3.0"), 505, False),
    "408": (b"GET / HT", 408, False),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_every_response_goes_through_the_hooks(runner: asyncio.Runner, tmp_path: Path, what: str) -> None:
    app = application(tmp_path)
    seen = tell(app)
    data, status, has_request = REQUESTS[what]

    async def main() -> None:
        async with serving(app) as server:
            response = await server.ask(data)
            assert (response.status, response.headers["x-seen"]) == (status, str(status))
            method = data.partition(b" ")[0].decode() if has_request else None
            assert seen == [(method, status)]
            assert (await server.get("/")).headers["x-seen"] == "200"

    runner.run(main())


def test_the_503_of_an_overload_goes_through_the_hooks(runner: asyncio.Runner) -> None:
    app = HTTPListener(limit_concurrency=1)
    seen = tell(app)
    release = asyncio.Event()

    @app.get("/")
    async def wait() -> str:
        await release.wait()
        return "done"

    async def main() -> None:
        async with serving(app) as server:
            first = await server.connect()
            await first.send(get("/"))
            await until(lambda: http_of(server).exchanges)
            assert (await server.get("/")).headers["x-seen"] == "503"
            release.set()
            assert (await first.receive()).headers["x-seen"] == "200"
            assert seen == [("GET", 503), ("GET", 200)]

    runner.run(main())


@pytest.mark.parametrize("late", [False, True])
def test_hooks_change_and_replace_in_the_order_of_registration(runner: asyncio.Runner, late: bool) -> None:
    app = HTTPListener()

    @app.get("/")
    async def home() -> Response:
        variable.set("handler")
        return Response("home", 201, {"x-one": "1"})

    @app.on_response
    async def first(request: Request | None, response: Response) -> Response:
        if late:
            await asyncio.sleep(0)
        return Response(f"{response.body!r} {variable.get()}", 202, {"x-two": response.headers.get("x-one", "none")})

    @app.on_response
    async def second(request: Request | None, response: Response) -> None:
        assert request is not None
        variable.set("hook")
        response.headers["x-three"] = request.path
        response.body = response.body + b"!"  # type: ignore[operator]

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            for _ in range(3):
                response = await client.ask(get("/"))
                assert (response.status, response.body) == (202, b"b'home' handler!")
                assert (response.headers["x-two"], response.headers["x-three"]) == ("1", "/")
                assert "x-one" not in response.headers

    runner.run(main())


@pytest.mark.parametrize("kind", [Response, StreamingResponse, HTTPError])
def test_what_a_hook_changes_of_a_shared_object_is_not_there_in_the_next_response(kind: type) -> None:
    app = HTTPListener()

    async def pieces() -> AsyncIterator[str]:
        yield "x"

    class Pieces:
        def __aiter__(self) -> AsyncIterator[str]:
            return pieces()

        async def __anext__(self) -> str:
            raise StopAsyncIteration

    shared: Any = HTTPError(404) if kind is HTTPError else kind(Pieces() if kind is StreamingResponse else "x")

    @app.get("/")
    async def home() -> Any:
        if kind is HTTPError:
            raise shared
        return shared

    @app.on_response
    async def add(request: Request | None, response: Response) -> None:
        response.headers.add("x-count", "1")
        response.status = 202

    client = TestClient(app)
    for _ in range(2):
        assert client.get("/").headers.getlist("x-count") == ["1"]
    assert "x-count" not in getattr(shared, "headers", {})
    assert shared.status != 202


# --- on_status ----------------------------------------------------------------------------------


def test_pages_for_statuses(tmp_path: Path) -> None:
    app = application(tmp_path)
    (tmp_path / "404.html").write_text("<p>missing")
    order: list[Any] = []

    @app.on_response
    async def after(request: Request | None, response: Response) -> None:
        order.append(response.status)

    @app.on_status(404)
    async def missing(request: Request | None) -> Response:
        order.append("page")
        return FileResponse("404.html", root=tmp_path)

    @app.on_status(405, 429, 500)
    async def other(request: Request, response: Response) -> dict[str, Any]:
        return {"status": response.status, "path": request.path}

    @app.on_status(501)
    async def teapot(request: Request) -> Response:
        return Response("short and stout", 418)

    @app.on_status(415)
    async def leave(request: Request, response: Response) -> None:
        response.headers["accept"] = "a/b"

    @app.on_status(200, 204)
    async def never(request: Request, response: Response) -> str:
        return f"own {response.status}"

    @app.get("/own")
    async def own() -> Response:
        return Response("own", 404)

    client = TestClient(app, raise_server_exceptions=False)
    for fields in ({}, {"if-none-match": "*"}, {"range": "bytes=0-1"}, {"if-match": '"x"'}):
        response = client.get("/nothing", headers=fields)
        assert (response.status_code, response.text) == (404, "<p>missing")
        assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert order == ["page", 404] * 4
    assert client.get("/no-file").text == "<p>missing"
    assert (client.head("/nothing").content, client.head("/nothing").headers["content-length"]) == (b"", "10")
    response = client.put("/")
    assert (response.status_code, response.json()) == (405, {"status": 405, "path": ""})
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
    response = client.get("/error/429")
    assert (response.json()["status"], response.headers["x-own"]) == (429, "1")
    assert client.get("/fail").json()["status"] == 500
    assert client.request("BREW", "/").status_code == 418
    assert client.get("/form").headers["accept"] == "a/b"
    assert client.get("/own").text == "own"
    assert client.get("/").text == "home"
    assert client.get("/none").content == b""
    assert client.options("/").status_code == 204


def test_a_page_for_a_request_without_a_head(runner: asyncio.Runner) -> None:
    app = HTTPListener()

    @app.on_status(400)
    async def page(request: Request | None) -> str:
        return f"no head: {request}"

    async def main() -> None:
        async with serving(app) as server:
            response = await server.ask(b"nonsense\r\n\r\n")
            assert (response.status, response.body) == (400, b"no head: None")

    runner.run(main())


def test_mistakes_at_registration() -> None:
    app: Any = HTTPListener()

    async def one(request: object) -> None: ...

    async def three(request: object, response: object, more: object) -> None: ...

    def sync(request: object, response: object) -> None: ...

    with pytest.raises(TypeError, match=r"write @app.on_status\(404\)"):
        app.on_status(one)
    with pytest.raises(TypeError, match="at least one status"):
        app.on_status()
    for status in (199, 600, "404"):
        with pytest.raises(ValueError, match="must be from 200 to 599"):
            app.on_status(status)
    app.on_status(200, 599)(one)
    with pytest.raises(TypeError, match=r"one\(\) must take a request and a response: async def hook"):
        app.on_response(one)
    with pytest.raises(TypeError, match=r"three\(\) must take a request, and may take a response"):
        app.on_status(404)(three)
    for register in (app.on_response, app.on_status(404)):
        with pytest.raises(TypeError, match="must be declared with `async def`"):
            register(sync)
    with pytest.raises(TypeError, match=r"write app.use\(Mine\(\.\.\.\)\)"):
        app.use(type("Mine", (), {"install": None}))
    with pytest.raises(TypeError, match=r"has a method install\(app\); int has none"):
        app.use(7)
