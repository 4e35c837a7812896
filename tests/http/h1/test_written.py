"""What is written is what was meant: each field once, each context its own, each body read the same way each time."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.helpers import serving
from tests.http.memory import MemoryTransport
from tests.http.walls import get, until
from tiny_listener import Param
from tiny_listener.core.runtime import Host
from tiny_listener.http import (
    BodyConsumedError,
    HTTPError,
    HTTPListener,
    HTTPSettings,
    Request,
    Response,
    StreamingResponse,
)
from tiny_listener.http.h1.server import HTTPServer
from tiny_listener.http.h1.writing.wire import closing, head_bytes, plain_bytes, whole_response

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
@pytest.mark.parametrize("value", ["text/html", "application/problem+json"])
def test_the_applications_content_type_replaces_the_servers(runner: asyncio.Runner, name: str, value: str) -> None:
    app = HTTPListener()

    async def pieces() -> AsyncIterator[str]:
        yield "x"

    @app.get("/{kind}")
    async def respond(kind: Param) -> Any:
        if kind == "error":
            raise HTTPError(409, "x", {name: value})
        if kind == "stream":
            return StreamingResponse(pieces(), headers={name: value})
        response = Response("x")
        if kind == "appended":
            response.headers.append((name.encode(), value.encode()))
            return response
        return Response("x", headers={name: value}, content_type="text/plain" if kind == "both" else None)

    async def main() -> None:
        app.attach(Host())
        server = HTTPServer(app, app.settings)
        for kind in ("plain", "both", "stream", "error", "appended"):
            transport = MemoryTransport(server)
            await transport.feed(get(f"/{kind}"))
            await until(lambda t=transport: t.written.endswith((b"x", b"x\n", b"0\r\n\r\n")))  # type: ignore[misc]
            head = bytes(transport.written).partition(b"\r\n\r\n")[0].lower()
            assert head.count(b"\r\ncontent-type: ") == 1
            assert f"\r\ncontent-type: {value}".encode() in head
            await transport.end()
        server.abort()

    runner.run(main())


def test_two_content_types_are_refused_where_they_are_written() -> None:
    with pytest.raises(ValueError, match="one Content-Type"):
        Response("x", headers=[("Content-Type", "a/b"), ("content-type", "c/d")])


TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
names = st.binary(max_size=8) | st.from_regex(TOKEN, fullmatch=True)
values = st.binary(max_size=20)


@given(st.lists(st.tuples(names, values), max_size=5), values, st.booleans(), st.sampled_from([0, 1]))
@settings(max_examples=500, derandomize=True)
def test_no_line_is_on_the_wire_that_was_not_meant(
    fields: list[tuple[bytes, bytes]], content_type: bytes, close: bool, version: int
) -> None:
    """Whatever a response was changed to."""
    response = Response("x")
    response.headers.raw[:] = [(b"content-type", content_type), *fields]
    try:
        head = head_bytes(response, close=close, length=1, version=version)
    except ValueError:
        assert any(
            set(name + value) & set(b"\r\n\0") or name == b"date" or not re.fullmatch(TOKEN, name)
            for name, value in [*fields, (b"x", content_type)]
        )
        return
    assert all(re.fullmatch(TOKEN, name) for name, _ in fields)
    lines = head.split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    kept = [name for name, _ in fields if name.lower() != b"content-type"]
    kind = [content_type, *(value for name, value in fields if name.lower() == b"content-type")][-1]
    assert len(lines) == 1 + 2 + bool(kind) + len(kept) + (close or version == 0) + 2
    assert not set(head.replace(b"\r\n", b"")) & set(b"\r\n\0")


@pytest.mark.parametrize("body", [b"", b"x", b"\r\n\r\n", b"x" * 5000])
def test_a_last_response_says_so_once(body: bytes) -> None:
    whole = whole_response(Response(body, 201, {"a": "b"}))
    assert whole is not None
    for data in (plain_bytes((200, b"text/plain"), body), whole[1]):
        last = closing(data)
        head, _, rest = last.partition(b"\r\n\r\n")
        assert rest == body
        assert head.count(b"\r\nconnection: close") == 1


@pytest.mark.parametrize("hooks", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("begun", [False, True])
def test_the_context_of_a_streams_body_is_the_handlers(
    runner: asyncio.Runner, hooks: bool, late: bool, begun: bool
) -> None:
    """What hooks and the handler set is there; what the body sets is nobody else's."""
    app = HTTPListener()
    seen: list[str] = []
    if hooks:

        @app.before_event
        async def before() -> None:
            variable.set("hook")

    @app.get("/")
    async def stream() -> Any:
        seen.append(variable.get())
        if late:
            await asyncio.sleep(0)
        variable.set(variable.get() + " handler")

        async def pieces() -> AsyncIterator[str]:
            yield variable.get()
            variable.set("body")
            await asyncio.sleep(0)
            yield " " + variable.get()

        return pieces()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            if begun:
                await client.ask(get("/nothing"))
            for _ in range(3):
                await client.send(get("/"))
                first = "hook" if hooks else ""
                assert (await client.receive()).body.decode() == f"{first} handler body"
        assert seen == [first] * 3

    runner.run(main())


async def _joined(request: Request) -> bytes:
    return b"".join([piece async for piece in request.stream()])


READS = {
    "body": lambda request: request.body(),
    "text": lambda request: request.text(),
    "json": lambda request: request.json(),
    "stream": _joined,
    "form": lambda request: request.form(),
}
MULTIPART = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'


@pytest.mark.parametrize("cut", ["whole", "after the head", "byte by byte"])
@pytest.mark.parametrize("second", READS)
@pytest.mark.parametrize("first", READS)
def test_how_a_second_reading_ends_does_not_depend_on_packets(
    runner: asyncio.Runner, first: str, second: str, cut: str
) -> None:
    """After `body()` all else reads the same again; after `stream()`, or a multipart form, the rest is refused."""
    app = HTTPListener()

    @app.post("/")
    async def read(request: Request) -> str:
        result = "read"
        for how in (first, second):
            try:
                await READS[how](request)  # type: ignore[no-untyped-call]
            except BodyConsumedError:
                result = "refused"
            except HTTPError as exc:
                if exc.status != 400:  # a form is not JSON; but it was read
                    raise
        return result

    data = b"1" if "json" in (first, second) and "form" not in (first, second) else MULTIPART
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n"
    keeps = ("body", "text", "json")
    same_form = (first, second) == ("form", "form")
    expected = "read" if first in keeps or same_form else "refused"

    async def main() -> None:
        app.attach(Host())
        server = HTTPServer(app, app.settings)
        transport = MemoryTransport(server)
        whole = head % len(data)
        pieces = {
            "whole": [whole + data],
            "after the head": [whole, data],
            "byte by byte": [whole, *(bytes([byte]) for byte in data)],
        }[cut]
        for piece in pieces:
            await transport.feed(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await until(lambda: transport.written.endswith((b"read", b"refused")), bytes(transport.written).decode())
        assert transport.written.endswith(expected.encode())
        await transport.end()
        server.abort()

    runner.run(main())


@pytest.mark.parametrize(
    ("peer", "logged"),
    [
        (("192.0.2.1", 80), "192.0.2.1:80 "),
        (("2001:db8::1", 80), "[2001:db8::1]:80 "),
        (("::ffff:192.0.2.1", 80), "[::ffff:192.0.2.1]:80 "),
        (("fe80::1%eth0", 80, 0, 2), "[fe80::1%eth0]:80 "),
        ("", "- "),
    ],
)
@pytest.mark.parametrize("path", ["/", "/nothing"])
def test_a_client_in_the_access_log(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, peer: Any, logged: str, path: str
) -> None:
    """RFC 5952 section 6: an IPv6 address with a port is in brackets, or it is another address."""
    app = HTTPListener()

    @app.get("/")
    async def home() -> str:
        return "home"

    class Transport(MemoryTransport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return peer if name == "peername" else default

    async def main() -> None:
        app.attach(Host())
        server = HTTPServer(app, HTTPSettings(access_log=True))
        transport = Transport(server)
        await transport.feed(get(path))
        await until(lambda: bool(transport.written))
        await transport.end()
        server.abort()

    with caplog.at_level(logging.INFO, "tiny_listener.access"):
        runner.run(main())
    (record,) = caplog.records
    assert record.getMessage().startswith(f'{logged}- "GET {path} HTTP/1.1" ')
    assert socket.has_ipv6 or peer


@pytest.mark.parametrize("zeros", [1, 19, 20, 21, 4301, 7000])
def test_zeros_before_a_length_change_nothing(runner: asyncio.Runner, zeros: int) -> None:
    """RFC 9110 section 8.6: a length is any number of digits; on the fast path and on the other alike."""

    app = HTTPListener()

    @app.post("/")
    async def read(request: Request) -> bytes:
        return await request.body()

    async def main() -> None:
        app.attach(Host())
        for is_slow in (False, True):
            server = HTTPServer(app, app.settings)
            if is_slow:
                server.takes_fast_path = False
            transport = MemoryTransport(server)
            for length, body in ((b"", b""), (b"3", b"abc")):
                transport.written.clear()
                ask = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"0" * zeros + length + b"\r\n\r\n" + body
                await transport.feed(ask)
                await until(lambda transport=transport: bool(transport.written))  # type: ignore[misc]
                assert transport.written.startswith(b"HTTP/1.1 200 OK")
                assert transport.written.endswith(b"\r\n\r\n" + body)
            await transport.end()
            server.abort()

    runner.run(main())
