"""A server in memory that is told what bytes arrive, in what pieces: what it writes, and what it counts.

Beside the client whose bytes are tried, an innocent one asks on a connection of its own, and is often in the middle of
a request when these bytes come: what it gets must not depend on them.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any

from tests.http.golden import INVALID, VALID
from tests.http.memory import MemoryTransport
from tiny_listener import Depends, Event
from tiny_listener.core.runtime import Host
from tiny_listener.http import Body, Header, HTTPError, HTTPListener, HTTPSettings, Request, Response
from tiny_listener.http.h1.server import HTTPServer

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
        b"GET /none HTTP/1.1",
        b"GET /response HTTP/1.1",
        b"HEAD /response HTTP/1.1",
        b"GET /refuse HTTP/1.1",
        b"GET /handled HTTP/1.1",
        b"GET /surrogate HTTP/1.1",
        b"GET /surrogate-late HTTP/1.1",
        b"GET /base HTTP/1.1",
        b"GET /base-late HTTP/1.1",
        b"GET /changed HTTP/1.1",
        b"GET /typed/7?q=1&q=2 HTTP/1.1",
        b"GET /typed/7?q=x HTTP/1.1",
        b"GET /typed/x HTTP/1.1",
        b"GET /session/at-once HTTP/1.1",
        b"GET /session/later HTTP/1.1",
        b"GET /session/refused HTTP/1.1",
        b"GET /session/x?n=y HTTP/1.1",
        b"GET /nothing?a=b HTTP/1.1",
        b"BREW / HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
    )
) + tuple(
    b"POST " + path + b" HTTP/1.1\r\n" + HOST + body
    for path in (b"/echo", b"/pieces", b"/ignore", b"/small", b"/body?a=1")
    for body in (
        b"Content-Length: 3\r\n\r\nabc",
        b"Content-Length: 12\r\n\r\nabcdefghijkl",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n9;x\r\n012345678\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    )
)  # fmt: skip
BROKEN = tuple(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n" for path in (b"/broken-stream", b"/cancelled-stream"))
"""Requests whose responses end early, and their connections with them."""
FAILING = (
    "/fail",
    "/surrogate",
    "/surrogate-late",
    "/base",
    "/base-late",
    "/changed",
    "/broken-stream",
    "/cancelled-stream",
)
"""Paths whose failures are logged."""
INNOCENT = (
    b"POST /innocent HTTP/1.1\r\n" + HOST + b"Content-Length: 6\r\n\r\nabc",
    b"def",
    b"GET /inno",
    b"cent HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /innocent HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab",
    b"c\r\n0\r\n\r\n",
)
"""What the innocent client sends, and again."""
CORPUS = (*ASKED, *BROKEN, *(golden.data for golden in (*VALID, *INVALID) if len(golden.data) < 2000))

TOO_LONG = (414, 431)


class Base(BaseException):
    """An exception that is no Exception."""


def is_expected(message: str) -> bool:
    """Whether a log line is of one of the failures that are made here."""
    return any(f"Event 'GET:{path}' failed in" in message for path in FAILING)


async def session() -> AsyncIterator[str]:
    """A dependency that is cleaned up after a moment."""
    try:
        yield "session"
    finally:
        await asyncio.sleep(0)


def application(*, hooked: bool = False) -> HTTPListener:  # noqa: C901 - many small handlers
    """Return an application; with hooks that change nothing, if that is asked for."""
    app = HTTPListener()
    if hooked:

        @app.before_event
        async def before() -> None: ...

        @app.after_event
        async def after(event: Event) -> None:
            if event.route.path == "GET:/suspend":
                await asyncio.sleep(0)

    @app.on_error(ZeroDivisionError)
    async def handle(request: Request) -> Response:
        return Response(f"{request.path} handled", 418)

    @app.get("/none")
    async def none() -> None: ...

    @app.get("/response")
    async def response() -> Response:
        return Response({"a": 1}, 201, {"X-Kind": "response", "Content-Type": "text/html"})

    @app.get("/refuse")
    async def refuse() -> str:
        raise HTTPError(409, "refused", {"X-Kind": "error"})

    @app.get("/handled")
    async def handled() -> str:
        raise ZeroDivisionError

    @app.get("/surrogate")
    async def surrogate() -> str:
        return "\udce9"

    @app.get("/surrogate-late")
    async def surrogate_late() -> dict[str, str]:
        await asyncio.sleep(0)
        return {"name": "\udce9"}

    @app.get("/base")
    async def base() -> str:
        raise Base

    @app.get("/base-late")
    async def base_late() -> str:
        await asyncio.sleep(0)
        raise SystemExit(3)

    @app.get("/changed")
    async def changed() -> Response:
        response = Response("x")
        response.headers.raw.append((b"a", b"b\r\nc: d"))
        return response

    @app.get("/broken-stream")
    async def broken_stream() -> AsyncIterator[Any]:
        yield "one"
        yield 5

    @app.get("/cancelled-stream")
    async def cancelled_stream() -> AsyncIterator[Any]:
        yield "one"
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    @app.get("/innocent")
    async def innocent() -> str:
        return "innocent"

    @app.post("/innocent", name="innocent_post")
    async def innocent_post(request: Request) -> bytes:
        return await request.body()

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

    @app.get("/typed/{n}")
    async def typed(n: int, q: list[int], host: Annotated[str, Header]) -> list[Any]:
        return [n, q, host]

    @app.get("/session/{how}")
    async def in_session(how: str, session: str = Depends(session), n: int = 0) -> str:
        if how == "later":
            await asyncio.sleep(0)
        if how == "refused":
            raise HTTPError(403)
        return f"{session} {n}"

    @app.post("/body")
    async def body(a: int, sizes: Annotated[list[int], Body(default=[])], key: str = Header(default="none")) -> int:
        return a + sum(sizes)

    @app.post("/small", max_body=10)
    async def small(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    return app


class Counting:
    """Counts what an observer is told, whichever way it is told."""

    def __init__(self) -> None:
        self.counts: Counter[Any] = Counter()

    def route_added(self, route: Any) -> Counting:
        return Counting() if route.path.endswith(":/innocent") else self

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


class Innocent:
    """A client that asks the same again and again, a piece at a time."""

    def __init__(self, server: HTTPServer) -> None:
        self._transport = MemoryTransport(server)
        self._sent = 0

    async def go_on(self) -> None:
        """Send the next piece."""
        await self._transport.feed(INNOCENT[self._sent % len(INNOCENT)])
        self._sent += 1

    async def end(self) -> None:
        """Send what is missing, and see that each request has its answer."""
        while self._sent % len(INNOCENT):
            await self.go_on()
        written = await self._transport.end()
        bodies = re.findall(rb"HTTP/1\.1 200 OK\r\n(?:[^\r]+\r\n)+\r\n(abcdef|innocent|abc)", written)
        assert bodies == [b"abcdef", b"innocent", b"abc"] * (self._sent // len(INNOCENT)), written
        assert written.count(b"HTTP/1.1") == len(bodies), written


async def answered(
    data: list[bytes], *, usual: bool = True, at_once: bool = False, hooked: bool = False
) -> tuple[bytes, Counter[Any]]:
    """Return what a server writes to a client that sends these pieces, and what it counts."""
    app = application(hooked=hooked)
    observer = Counting()
    app.attach(Host(observer=observer))
    server = HTTPServer(app, HTTPSettings(max_request_line=200, max_header=300, max_headers=600, max_header_fields=20))
    if not usual:
        server.takes_fast_path = False
    transport, innocent = MemoryTransport(server), Innocent(server)
    for piece in data:
        await innocent.go_on()
        await transport.feed(piece)
        if not at_once:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    written = await transport.end()
    await innocent.end()
    assert server.in_flight == 0
    assert not server.connections
    server.abort()
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
    assert await answered(pieces, hooked=True) == expected
    # Whether a client that expects 100 Continue must be left depends on whether its body came unasked.
    if b"expect" not in data.lower():
        assert await answered(pieces, at_once=True) == expected
        assert await answered([data] if data else []) == expected
