"""HTTP requests find HTTP routes only: no client names, as its method and path, an event of another source."""

from __future__ import annotations

import asyncio

import pytest

from tests.http.helpers import serving
from tiny_listener import Param
from tiny_listener.http import HTTPListener


def application() -> tuple[HTTPListener, list[str]]:
    app = HTTPListener()
    ran: list[str] = []

    @app.on_event("mqtt:/sensors/{id}")
    async def sensor(id: Param) -> str:  # noqa: A002
        ran.append("sensor")
        return str(id)

    @app.on_event("MQTT:/sensors/{id}")
    async def upper(id: Param) -> str:  # noqa: A002
        ran.append("upper")
        return str(id)

    @app.on_event("{topic:path} purge")
    async def purge(topic: Param) -> str:
        ran.append("purge")
        return str(topic)

    @app.on_event("GET{rest:path}")
    async def rest(rest: Param) -> str:
        ran.append("rest")
        return str(rest)

    @app.on_event("GET:/event/{name}")
    async def as_event(name: Param) -> str:
        return f"event {name}"

    @app.on_event("PROPFIND:/dav/{name}")
    async def dav(name: Param) -> str:
        return f"dav {name}"

    @app.get("/user/{name}")
    async def user(name: Param) -> str:
        return f"user {name}"

    @app.route("PURGE", "/cache/{name}")
    async def cache(name: Param) -> str:
        return f"cache {name}"

    return app, ran


@pytest.mark.parametrize(
    ("line", "status", "body"),
    [
        (b"mqtt /sensors/5 HTTP/1.1", 404, None),
        (b"MQTT /sensors/5 HTTP/1.1", 404, None),
        (b"GET /a%20purge HTTP/1.1", 404, None),
        (b"HEAD /a%20purge HTTP/1.1", 404, None),
        (b"POST /a%20purge HTTP/1.1", 404, None),
        (b"GET /nothing HTTP/1.1", 404, None),
        (b"OPTIONS /a%20purge HTTP/1.1", 404, None),
        (b"GET /event/x HTTP/1.1", 200, b"event x"),
        (b"GET /user/x HTTP/1.1", 200, b"user x"),
        (b"GET /user/x%20purge HTTP/1.1", 200, b"user x purge"),
        (b"HEAD /user/x HTTP/1.1", 200, None),
        (b"PROPFIND /dav/x HTTP/1.1", 200, b"dav x"),
        (b"PURGE /cache/x HTTP/1.1", 200, b"cache x"),
        (b"POST /user/x HTTP/1.1", 405, None),
    ],
)
def test_requests_find_http_routes_only(runner: asyncio.Runner, line: bytes, status: int, body: bytes | None) -> None:
    app, ran = application()

    async def main() -> None:
        async with serving(app) as server:
            for _ in range(2):
                response = await server.ask(line + b"\r\nHost: x\r\n\r\n", head_only=line.startswith(b"HEAD"))
                assert response.status == status
                assert body is None or response.body == body
                if status == 405:
                    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
            assert ran == []
            assert await app.trigger_event("mqtt:/sensors/5") == "5"  # who triggers it in process still finds it
            assert await app.trigger_event("a purge") == "a"

    runner.run(main())


def test_a_route_that_comes_later(runner: asyncio.Runner) -> None:
    app = HTTPListener()

    async def main() -> None:
        async with serving(app) as server:
            assert (await server.get("/x purge".replace(" ", "%20"))).status == 404

            @app.on_event("{topic:path} purge")
            async def purge(topic: Param) -> str:
                return str(topic)

            assert (await server.get("/x%20purge")).status == 404

    runner.run(main())
