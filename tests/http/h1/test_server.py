"""Requests and responses over real sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
from unittest import mock

import pytest

from tests.http.helpers import serving, until
from tiny_listener import Depends, Event, Param
from tiny_listener.http import ClientDisconnectedError, HTTPListener, ProtocolError, Request, Response
from tiny_listener.http.h1 import fast_path
from tiny_listener.http.h1.connection import MAX_WAITING
from tiny_listener.http.h1.writing.outbox import MAX_UNWRITTEN

HOST = b"Host: x\r\n\r\n"


@pytest.mark.parametrize(
    ("request_line", "status", "allow"),
    [
        (b"HEAD / HTTP/1.1", 200, None),
        (b"HEAD /stream HTTP/1.1", 200, None),
        (b"OPTIONS / HTTP/1.1", 204, "GET, HEAD, OPTIONS"),
        (b"OPTIONS * HTTP/1.1", 204, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (b"PUT / HTTP/1.1", 405, "GET, HEAD, OPTIONS"),
        (b"HEAD /echo HTTP/1.1", 405, "POST, OPTIONS"),
        (b"BREW / HTTP/1.1", 501, "GET, HEAD, OPTIONS"),
        (b"HEAD /nothing HTTP/1.1", 404, None),
    ],
)
def test_other_methods(runner: asyncio.Runner, request_line: bytes, status: int, allow: str | None) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            head = request_line.startswith(b"HEAD")
            response = await client.ask(request_line + b"\r\n" + HOST, head_only=head)
            assert (response.status, response.headers.get("allow")) == (status, allow)
            assert (await client.ask(b"GET / HTTP/1.1\r\n" + HOST)).body == b"Welcome!"

    runner.run(main())


def test_pipelined_requests_are_answered_in_order(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            targets = [f"/user/{i}" if i % 3 else "/stream" for i in range(200)]
            await client.send(b"".join(f"GET {t} HTTP/1.1\r\n".encode() + HOST for t in targets))
            for i, target in enumerate(targets):
                response = await client.receive()
                assert response.body == (b"one\ntwo\n" if target == "/stream" else f"Hello, {i}!".encode())

    runner.run(main())


def test_a_piece_too_large_to_wait_is_read_at_once(runner: asyncio.Runner) -> None:
    """A loop iteration may bring many of them; what follows may have to be stopped before."""

    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            await client.ask(b"GET / HTTP/1.1\r\n" + HOST)
            assert server.app.http.server is not None
            (connection,) = server.app.http.server.connections
            small = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (2 * MAX_WAITING)
            connection.data_received(small)
            assert server.app.http.server.arrived == [(connection, small)]
            connection.data_received(b"x" * (MAX_WAITING + 1))
            assert not server.app.http.server.arrived
            connection.data_received(b"x" * (MAX_WAITING - 1))
            assert len((await client.receive()).body) == 2 * MAX_WAITING

    runner.run(main())


def test_a_request_is_handled_though_its_client_left_at_once(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    handled: list[str] = []

    @app.get("/{name}")
    async def handle(name: Param) -> str:
        handled.append(name)
        return "handled"

    async def main() -> None:
        async with serving(app) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"GET /a HTTP/1.1\r\n" + HOST + b"GET /b HTTP/1.1\r\n" + HOST)
            await asyncio.wait_for(until(lambda: handled == ["a", "b"]), 10)

    runner.run(main())


def test_many_responses_of_an_iteration_are_written_together(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_path, "MAX_SHARED_TIME", 60.0)  # on a busy machine they take longer than their share

    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            await client.ask(b"GET / HTTP/1.1\r\n" + HOST)
            assert server.app.http.server is not None
            (connection,) = server.app.http.server.connections
            written: list[int] = []
            transport = connection.transport

            def write(data: bytes) -> None:
                written.append(data.count(b"HTTP/1.1 200"))
                transport.write(data)

            connection.transport = mock.Mock(wraps=transport, write=write)
            await client.send((b"GET / HTTP/1.1\r\n" + HOST) * (2 * MAX_UNWRITTEN + 3))
            for _ in range(2 * MAX_UNWRITTEN + 3):
                await client.receive()
            assert written == [MAX_UNWRITTEN, MAX_UNWRITTEN, 3]

    runner.run(main())


def test_the_good_before_the_bad_are_answered(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            good = b"GET /user/Bob HTTP/1.1\r\n" + HOST
            await client.send(good + good + b"GARBAGE\r\n\r\n" + good)
            assert [(await client.receive()).status for _ in range(3)] == [200, 200, 400]
            assert await client.is_closed()

    runner.run(main())


@pytest.mark.parametrize("before", [0, 1, MAX_UNWRITTEN - 1, MAX_UNWRITTEN])
@pytest.mark.parametrize(
    ("last", "status"),
    [
        (b"GET /user/Bob HTTP/1.1\r\n", 200),
        (b"GET /nothing HTTP/1.1\r\n", 404),
        (b"POST /echo HTTP/1.1\r\nContent-Length: 0\r\n", 200),
    ],
)
def test_a_last_request_is_the_last(runner: asyncio.Runner, before: int, last: bytes, status: int) -> None:
    good = b"GET / HTTP/1.1\r\n" + HOST

    async def main() -> None:
        async with serving() as server:
            for after in (b"", good, b"GARBAGE\r\n\r\n"):
                client = await server.connect()
                await client.send(good * before + last + b"Connection: close\r\n" + HOST + after)
                for _ in range(before):
                    response = await client.receive()
                    assert (response.status, response.headers.get("connection")) == (200, None)
                response = await client.receive()
                assert (response.status, response.headers["connection"]) == (status, "close")
                assert await client.is_closed()
            other = await server.connect()  # the parser, which all share, does not think that it was the last of all
            assert (await other.ask(good)).status == 200

    runner.run(main())


@pytest.mark.parametrize(
    ("version", "headers", "closes"),
    [
        (b"1.1", b"", False),
        (b"1.1", b"Connection: close\r\n", True),
        (b"1.1", b"Connection: foo, Close\r\n", True),
        (b"1.0", b"", True),
        (b"1.0", b"Connection: keep-alive\r\n", False),
    ],
)
@pytest.mark.parametrize("target", [b"/", b"/stream"])
def test_keep_alive(runner: asyncio.Runner, version: bytes, headers: bytes, closes: bool, target: bytes) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            response = await client.ask(b"GET %b HTTP/%b\r\n%bHost: x\r\n\r\n" % (target, version, headers))
            assert response.status == 200
            assert response.body in (b"Welcome!", b"one\ntwo\n")
            if closes or (version == b"1.0" and target == b"/stream"):
                assert response.headers["connection"] == "close"
                assert await client.is_closed()
            else:
                assert (await client.ask(b"GET / HTTP/1.1\r\n" + HOST)).status == 200

    runner.run(main())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET / RTSP/1.0\r\nHost: x\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n", 417),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
    ],
)
def test_violations_end_the_connection(runner: asyncio.Runner, data: bytes, status: int) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            response = await client.ask(data)
            assert (response.status, response.headers["connection"]) == (status, "close")
            assert await client.is_closed()

    runner.run(main())


def test_a_failure_is_logged_once_and_the_connection_lives(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            assert (await client.ask(b"GET /fail HTTP/1.1\r\n" + HOST)).status == 500
            assert (await client.ask(b"GET / HTTP/1.1\r\n" + HOST)).status == 200

    with caplog.at_level(logging.ERROR):
        runner.run(main())
    assert len(caplog.records) == 1
    assert "'GET:/fail' failed in fail (web.py:" in caplog.text
    assert caplog.text.count("Traceback") == 1
    assert "ValueError: deliberate" in caplog.text


def test_a_stream_that_fails_does_not_look_complete(runner: asyncio.Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            with pytest.raises((asyncio.IncompleteReadError, ValueError, ConnectionError)):
                await client.ask(b"GET /broken-stream HTTP/1.1\r\n" + HOST)
            assert (await server.get("/")).status == 200

    runner.run(main())
    assert "midway" in caplog.text


def test_a_slow_reader_is_not_buffered_without_end(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    made = 0

    @app.get("/endless")
    async def endless() -> object:
        async def pieces() -> object:
            nonlocal made
            while True:
                made += 1
                yield b"x" * 65536

        return pieces()

    async def main() -> None:
        async with serving(app, write_timeout=0.2) as server:
            client = await server.connect()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(b"GET /endless HTTP/1.1\r\n" + HOST)
            while not app.http.server or not app.http.server.connections:
                await asyncio.sleep(0)
            while app.http.server.connections:  # until the write timeout closes it
                await asyncio.sleep(0.01)
            assert made < 2000

    runner.run(main())


def test_a_client_that_goes_away(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    seen: asyncio.Queue[BaseException] = asyncio.Queue()

    @app.post("/")
    async def read(request: Request) -> None:
        try:
            await request.body()
        except ClientDisconnectedError as exc:
            seen.put_nowait(exc)
            raise

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
            while app.http.server is None or not app.http.server.exchanges:
                await asyncio.sleep(0)
            client.writer.close()
            assert isinstance(await asyncio.wait_for(seen.get(), 10), ClientDisconnectedError)

    runner.run(main())


def test_hooks_errors_and_dependencies_act_on_requests(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    seen: list[object] = []

    async def user(request: Request) -> str:
        return request.header("x-user", "nobody") or ""

    @app.before_event
    async def before(event: Event) -> None:
        if event.params.get("name") == "Eve":
            raise PermissionError

    @app.after_event
    async def after(event: Event, request: Request) -> None:
        seen.append((request.method, request.path, event.result, request.query_string))

    @app.on_error(PermissionError)
    async def forbid(request: Request) -> Response:
        return Response(f"{request.path} is forbidden", 403)

    @app.on_error(ArithmeticError)
    async def only_look() -> None:
        seen.append("looked")

    @app.get("/{name}")
    async def hello(name: Param, who: str = Depends(user)) -> str:
        if name == "zero":
            raise ZeroDivisionError
        return f"{who} to {name}"

    async def main() -> None:
        async with serving(app) as server:
            response = await server.ask(b"GET /a%2Fb?q HTTP/1.1\r\nHost: x\r\nX-User: Ann\r\nX-User: Bea\r\n\r\n")
            assert response.body == b"Ann, Bea to a/b"
            assert (await server.get("/Eve")).body == b"/Eve is forbidden"
            assert (await server.get("/zero")).status == 500

    runner.run(main())
    assert seen == [("GET", "/a/b", "Ann, Bea to a/b", "q"), "looked"]


def test_the_access_log_escapes_what_clients_send(runner: asyncio.Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(access_log=True) as server:
            await server.get("/\x1b[31m")

    with caplog.at_level(logging.INFO, "tiny_listener.access"):
        runner.run(main())
    (record,) = [r for r in caplog.records if r.name == "tiny_listener.access"]
    line = record.getMessage()
    assert line.startswith("127.0.0.1:")
    assert '- "GET /\\x1b[31m HTTP/1.1" 404 Not Found ' in line or '" 400 Bad Request ' in line
    assert "\x1b" not in line


def test_settings_and_paths_are_checked() -> None:
    with pytest.raises(ValueError, match="must begin with a slash"):
        HTTPListener().get("user")
    with pytest.raises(TypeError, match="no_such"):
        HTTPListener(no_such=1)
    error = ProtocolError(400, "x")
    assert (error.status, str(error)) == (400, "400 Bad Request: x")
