"""Limits of size, time and number, each from both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.http.helpers import serving
from tiny_listener.http import HTTPListener
from tiny_listener.http.h1.states import State
from tiny_listener.http.h1.upkeep import enforce_limits

HOST = b"Host: x\r\n\r\n"


def _line(size: int) -> bytes:
    start, end = b"GET /", b" HTTP/1.1\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end + HOST


def _header(size: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: x\r\nA:" + b"b" * (size - 4) + b"\r\n\r\n"


def _headers(size: int) -> bytes:
    lines = b"Host: x\r\n"
    while len(lines) + 2005 < size:
        lines += b"A: " + b"b" * 1000 + b"\r\n"
    lines += b"A:" + b"b" * (size - len(lines) - 4) + b"\r\n\r\n"
    return b"GET / HTTP/1.1\r\n" + lines


def _fields(count: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * (count - 1) + b"\r\n"


def _body(size: int) -> bytes:
    return b"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (size, b"b" * size)


def _chunks(size: int) -> bytes:
    chunks = b"1\r\nb\r\n" * size
    return b"POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks


@pytest.mark.parametrize(
    ("make", "limit", "statuses"),
    [
        (_line, 8192, (404, 414)),
        (_header, 8192, (200, 431)),
        (_headers, 65536, (200, 431)),
        (_fields, 100, (200, 431)),
        (_body, 10, (200, 413)),
        (_chunks, 10, (200, 413)),
    ],
    ids=["request line", "header", "headers", "fields", "body", "chunked body"],
)
@pytest.mark.parametrize("unfinished", [False, True])
def test_limits_from_both_sides(
    runner: asyncio.Runner,
    make: Callable[[int], bytes],
    limit: int,
    statuses: tuple[int, int],
    unfinished: bool,
) -> None:
    inside, past = statuses

    async def main() -> None:
        async with serving() as server:
            if not unfinished:
                assert (await server.ask(make(limit))).status == inside
                assert (await server.ask(make(limit + 1))).status == past
            elif make in (_line, _header, _headers):
                # An endless one is refused while it is still coming.
                data = make(limit + 20)[:-10]
                assert (await server.ask(data)).status == past

    runner.run(main())


@pytest.mark.parametrize("limit", [60, 100, 300, 500, 5000])
@pytest.mark.parametrize(
    ("name", "make", "refusal"),
    [("max_request_line", _line, 414), ("max_header", _header, 431), ("max_headers", _headers, 431)],
)
@pytest.mark.parametrize("fields", [1, 3, 100, 50_000])
def test_each_limit_holds_whatever_the_others_are(  # noqa: PLR0917
    runner: asyncio.Runner, name: str, make: Callable[[int], bytes], refusal: int, limit: int, fields: int
) -> None:
    """A small one, combined with a number of fields that is large or small."""
    if make is _headers and limit > 3000 and fields < 10:
        return  # as many bytes need more fields

    async def main() -> None:
        options: dict[str, Any] = {"max_header_fields": fields, name: limit}
        async with serving(**options) as server:
            for size in (limit - 1, limit, limit + 1):
                data = make(size)
                allowed = data.count(b"\r\n") - 2 <= fields
                for cut in (len(data), len(data) - 1, 30):
                    client = await server.connect()
                    await client.send(data[:cut])
                    await asyncio.sleep(0)
                    await client.send(data[cut:])
                    response = await client.receive()
                    if not allowed:
                        assert response.status == 431
                    else:
                        assert (response.status == refusal) == (size > limit), (size, response)

    runner.run(main())


@pytest.mark.parametrize(
    ("settings", "data", "status"),
    [
        ({"header_timeout": 0.1}, b"GET / HT", 408),
        ({"header_timeout": 0.1}, b"GET / HTTP/1.1\r\nHost:", 408),
        ({"body_timeout": 0.1}, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", 408),
        ({"keep_alive_timeout": 0.1}, b"", None),
        ({"keep_alive_timeout": 0.1}, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ],
)
def test_time_limits(runner: asyncio.Runner, settings: dict[str, Any], data: bytes, status: int | None) -> None:
    async def main() -> None:
        async with serving(**settings) as server:
            client = await server.connect()
            if status is not None:
                assert (await client.ask(data)).status == status
            assert await client.is_closed()

    runner.run(main())


def test_without_keep_alive_each_connection_is_told_that_it_ends(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving(keep_alive_timeout=0.0) as server:
            client = await server.connect()
            http = server.app.http.server
            assert http is not None
            (connection,) = http.connections
            enforce_limits(connection, http.loop.time() + 1.0)  # the first request has time to come
            await client.send(b"GET /user/Bob HTTP/1.1\r\n" + HOST)
            response = await client.receive()
            assert (response.status, response.headers["connection"]) == (200, "close")
            assert await client.is_closed()
            # Of requests that came together each is answered.
            client = await server.connect()
            await client.send(3 * (b"GET /user/Bob HTTP/1.1\r\n" + HOST))
            answers = [await client.receive() for _ in range(3)]
            assert [answer.status for answer in answers] == [200, 200, 200]
            assert [answer.headers.get("connection") for answer in answers] == [None, None, "close"]
            client = await server.connect()
            (connection,) = (one for one in http.connections if one.state is State.IDLE)
            enforce_limits(connection, http.loop.time() + server.app.settings.header_timeout + 1.0)
            assert await client.is_closed()

    runner.run(main())


def test_concurrency_is_limited(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    release = asyncio.Event()

    @app.get("/")
    async def wait() -> str:
        await release.wait()
        return "done"

    async def main() -> None:
        async with serving(app, limit_concurrency=2) as server:
            clients = [await server.connect() for _ in range(2)]
            for client in clients:
                await client.send(b"GET / HTTP/1.1\r\n" + HOST)
            while app.http.server is None or app.http.server.in_flight < 2:
                await asyncio.sleep(0)
            refused = await server.get("/")
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            release.set()
            assert [(await client.receive()).status for client in clients] == [200, 200]
            assert app.http.server.in_flight == 0
            assert (await server.get("/")).status == 200

    runner.run(main())
