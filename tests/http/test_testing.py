"""The client that asks an application in process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.http.helpers import load_app
from tiny_listener.http import HTTPError, HTTPListener, Request, Response
from tiny_listener.http.testing import TestClient, TestResponse, httpx_transport


@pytest.fixture
def app() -> HTTPListener:
    app: HTTPListener = load_app().app

    @app.get("/mirror")
    async def mirror(request: Request) -> dict[str, Any]:
        return {"query": request.query_string, "headers": dict(request.headers), "cookies": request.cookies}

    @app.get("/refused/{status:int}")
    async def refused(status: int = 0) -> None:
        raise HTTPError(500, "raised to be answered")

    return app


def test_responses(app: HTTPListener) -> None:
    client = TestClient(app)
    assert client.get("/user/Jürgen").text == "Hello, Jürgen!"
    assert client.get("/number/12").json() == {"n": 12}
    response = client.get("/response")
    assert (response.status_code, response.headers["X-One"], response.content) == (201, "1", b"made")
    assert client.get("/stream").text == "one\ntwo\n"
    assert client.get("/none").status_code == 204
    assert (client.head("/").content, client.head("/").headers["content-length"]) == (b"", "8")
    assert client.get("/nothing").status_code == 404
    assert client.put("/").headers["allow"] == client.patch("/").headers["allow"] == "GET, HEAD, OPTIONS"
    assert (client.delete("/").status_code, client.options("/").status_code) == (405, 204)
    assert repr(response) == "TestResponse(201)"


def test_requests(app: HTTPListener) -> None:
    client = TestClient(app, headers={"x-a": "1", "x-b": "1"})
    assert client.post("/echo", content="ü").content == "ü".encode()
    assert client.post("/json", json={"a": [1]}).json() == {"got": {"a": [1]}}
    mirrored = client.get("/mirror?a=1", params={"b": ["2", "3"]}, headers={"X-A": "2"}, cookies={"c": "4"}).json()
    assert (mirrored["query"], mirrored["cookies"]) == ("a=1&b=2&b=3", {"c": "4"})
    assert mirrored["headers"] == {"host": "testserver", "x-a": "2", "x-b": "1", "cookie": "c=4"}


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 3_000_000])
def test_bodies_of_any_size(app: HTTPListener, size: int) -> None:
    client = TestClient(app)
    assert client.post("/echo", content=b"x" * size).content == b"x" * size
    assert client.post("/pieces", content=b"x" * size).text == str(size)
    assert client.post("/ignore", content=b"x" * size).text == "ignored"


def test_a_body_that_is_too_long(app: HTTPListener) -> None:
    app.configure(max_body=100)
    client = TestClient(app)
    assert client.post("/echo", content=b"x" * 100).status_code == 200
    assert client.post("/echo", content=b"x" * 101).status_code == 413
    assert client.post("/echo", content=b"x" * 3_000_000).status_code == 413


def test_an_expectation(app: HTTPListener) -> None:
    response = TestClient(app).post("/echo", content=b"x" * 200_000, headers={"expect": "100-continue"})
    assert (response.status_code, len(response.content)) == (200, 200_000)
    assert response.headers.getlist("content-length") == ["200000"]


def test_failures_are_raised(app: HTTPListener) -> None:
    client = TestClient(app)
    with pytest.raises(ValueError, match="deliberate"):
        client.get("/fail")
    with pytest.raises(RuntimeError, match="midway"):
        client.get("/broken-stream")
    with pytest.raises(TypeError, match="not a response"):
        client.get("/object")
    assert client.get("/handled").status_code == 418
    assert client.get("/refused/1").status_code == 500


def test_failures_are_answered(app: HTTPListener) -> None:
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/fail").status_code == 500
    with pytest.raises(ConnectionError, match="ended before"):
        client.get("/broken-stream")


def test_a_life_from_startup_to_shutdown() -> None:
    app = HTTPListener()
    seen: list[str] = []
    loops: list[asyncio.AbstractEventLoop] = []

    @app.startup
    async def begin() -> None:
        seen.append("startup")

    @app.shutdown
    async def end() -> None:
        seen.append("shutdown")

    @app.get("/")
    async def home() -> str:
        loops.append(asyncio.get_running_loop())
        return seen[-1]

    client = TestClient(app)
    for _ in range(2):
        seen.clear()
        with client:
            assert (client.get("/").text, client.get("/").text) == ("startup", "startup")
        assert seen == ["startup", "shutdown"]
    assert loops[0] is loops[1]
    assert client.get("/").text == "shutdown"
    assert [source.name for source in app.lifecycle.sources] == ["events", "http"]  # those of the last life alone


def test_a_startup_that_fails() -> None:
    app = HTTPListener()

    @app.startup
    async def begin() -> None:
        raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"), TestClient(app):
        pass


def test_it_is_not_for_running_loops(app: HTTPListener, runner: asyncio.Runner) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="a loop is running"), TestClient(app):
            pass

    runner.run(main())


def test_httpx(app: HTTPListener, runner: asyncio.Runner) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx_transport(app), base_url="http://test") as client:
            assert (await client.get("/user/Jürgen")).text == "Hello, Jürgen!"
            assert (await client.post("/json", json=[1])).json() == {"got": [1]}
            assert (await client.post("/echo", content=pieces())).content == b"onetwo"
            assert (await client.get("/mirror", params={"a": "1"})).json()["query"] == "a=1"
            assert [r.text for r in await asyncio.gather(*[client.get("/user/a") for _ in range(10)])] == [
                "Hello, a!"
            ] * 10
            with pytest.raises(ValueError, match="deliberate"):
                await client.get("/fail")
        transport = httpx_transport(app, raise_server_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.get("/fail")).status_code == 500

    runner.run(main())


def test_response_is_what_it_says() -> None:
    response = TestResponse(200, [(b"a", b"1")], b"[1]")
    assert (response.json(), response.text, response.headers["A"]) == ([1], "[1]", "1")
    assert Response().status == 200
