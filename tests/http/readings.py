"""A server in memory that is told what bytes arrive, in what pieces: what it writes, and what it counts."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from tests.http.golden import INVALID, VALID
from tests.http.memory import MemoryTransport
from tiny_listener.host import Host
from tiny_listener.http import HTTPListener, HTTPSettings, Request
from tiny_listener.http.fast_path import slow_path
from tiny_listener.http.server import HTTPServer

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
"""How many new ones to look for; without it the same few are tried each time."""
HOST = b"Host: x\r\n"
ASKED = tuple(
    line + b"\r\n" + HOST + b"\r\n"
    for line in (
        b"GET / HTTP/1.1",
        b"HEAD / HTTP/1.1",
        b"GET /suspend HTTP/1.1",
        b"GET /suspend HTTP/1.0",
        b"GET /stream HTTP/1.1",
        b"GET /fail HTTP/1.1",
        b"GET /nothing?a=b HTTP/1.1",
        b"BREW / HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
    )
) + tuple(
    b"POST " + path + b" HTTP/1.1\r\n" + HOST + body
    for path in (b"/echo", b"/pieces", b"/ignore", b"/small")
    for body in (
        b"Content-Length: 3\r\n\r\nabc",
        b"Content-Length: 12\r\n\r\nabcdefghijkl",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n9;x\r\n012345678\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    )
)  # fmt: skip
CORPUS = (*ASKED, *(golden.data for golden in (*VALID, *INVALID) if len(golden.data) < 2000))

TOO_LONG = (414, 431)


def application() -> HTTPListener:
    app = HTTPListener()

    @app.get("/")
    async def home() -> str:
        return "home"

    @app.get("/suspend")
    async def suspend() -> str:
        await asyncio.sleep(0)
        return "suspended"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "one"
        await asyncio.sleep(0)
        yield "two"

    @app.get("/fail")
    async def fail() -> str:
        raise LookupError

    @app.post("/echo")
    async def echo(request: Request) -> bytes:
        return await request.body()

    @app.post("/pieces")
    async def in_pieces(request: Request) -> bytes:
        return b"".join([piece async for piece in request.stream()])

    @app.post("/ignore")
    async def ignore() -> str:
        return "ignored"

    @app.post("/small", max_body=10)
    async def small(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    return app


class Counting:
    """Counts what an observer is told, whichever way it is told."""

    def __init__(self) -> None:
        self.counts: Counter[Any] = Counter()

    def route_added(self, route: Any) -> Counting:
        return self

    def not_found(self) -> None:
        self.counts["not found"] += 1

    def event_done(self, seconds: float, outcome: str) -> None:
        assert 0 <= seconds < 60
        self.counts[outcome] += 1

    def http_response(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        assert 0 <= seconds < 60
        self.counts[method, 400 if status in TOO_LONG else status] += 1

    http_unrouted = http_response

    def http_events(self, samples: list[tuple[str, float]]) -> None:
        for method, seconds in samples:
            self.event_done(seconds, "ok")
            self.http_response(method, 200, seconds)

    def http_not_found(self, samples: list[tuple[str, float]]) -> None:
        for method, seconds in samples:
            self.not_found()
            self.http_unrouted(method, 404, seconds)


async def answered(data: list[bytes], *, usual: bool = True, at_once: bool = False) -> tuple[bytes, Counter[Any]]:
    """Return what a server writes to a client that sends these pieces, and what it counts."""
    app = application()
    observer = Counting()
    app.attach(Host(observer=observer))
    server = HTTPServer(app, HTTPSettings(max_request_line=200, max_header=300, max_headers=600, max_header_fields=20))
    if not usual:
        server.serve = slow_path
    transport = MemoryTransport(server)
    for piece in data:
        await transport.feed(piece)
        if not at_once:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    written = await transport.end()
    assert server.in_hand == 0
    assert not server.connections
    assert not server.lingering
    server.abort()
    server.pool.close()
    # Whether the response before a violation says that it is the last depends on whether that had arrived, and which
    # of several violations is named, on how much.
    text = re.sub(rb"connection: (?:close|keep-alive)\r\n", b"", re.sub(rb"date: [^\r]*", b"date", written))
    text = re.sub(rb"(HTTP/1\.1 [45]\d\d [^\r]*)\r\n(?:.+\r\n)+\r\n(?:(?!HTTP/)[^\n]+\n)?", rb"\1\r\n", text)
    text = re.sub(rb"HTTP/1\.1 (?:414|431) [^\r]*", b"HTTP/1.1 400 Bad Request", text)
    return text, observer.counts


async def check_one_reading(pieces: list[bytes]) -> None:
    """See that neither the way that requests go nor where their bytes are cut changes what becomes of them."""
    data = b"".join(pieces)
    expected = await answered(pieces)
    assert await answered(pieces, usual=False) == expected
    # Whether a client that expects 100 Continue must be left depends on whether its body came unasked.
    if b"expect" not in data.lower():
        assert await answered(pieces, at_once=True) == expected
        assert await answered([data] if data else []) == expected
