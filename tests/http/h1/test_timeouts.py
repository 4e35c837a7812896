"""Every limit of time, in every state of a connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.http.helpers import Client, Serving, serving
from tests.http.walls import get, until
from tiny_listener.http import HTTPListener, HTTPSettings, Request
from tiny_listener.http.h1.server import HTTPServer
from tiny_listener.http.h1.states import State
from tiny_listener.http.h1.timeouts import Overdue, WriteProgress, overdue

SETTINGS = HTTPSettings(
    header_timeout=2.0, body_timeout=3.0, keep_alive_timeout=5.0, linger_time=7.0, linger_timeout=4.0, write_timeout=6.0
)


def cases() -> Iterator[tuple[State, dict[str, Any], float, Overdue]]:
    """Yield a state, what else is so, the limit in seconds, and what is late past it."""
    yield State.IDLE, {}, 5.0, Overdue.IDLE
    yield State.HEAD, {}, 2.0, Overdue.HEAD
    yield State.LINGERING, {}, 4.0, Overdue.LINGERING
    yield State.LINGERING, {"active": 1000.0}, 7.0, Overdue.LINGERING
    yield State.LINGERING, {"active": 1000.0, "draining": True}, 4.0, Overdue.LINGERING
    for state in (State.HANDLING, State.STREAMING, State.RESPONDING, State.BODY):
        yield state, {"awaits_body": True}, 3.0, Overdue.BODY


@pytest.mark.parametrize(("state", "more", "limit", "late"), list(cases()))
def test_each_limit_from_both_sides(state: State, more: dict[str, Any], limit: float, late: Overdue) -> None:
    facts: dict[str, Any] = {"active": 0.0, "since": 0.0, "awaits_body": False, "draining": False, **more}
    assert overdue(state, limit, SETTINGS, **facts) is None
    assert overdue(state, limit + 0.001, SETTINGS, **facts) is late


@pytest.mark.parametrize("state", State)
def test_nothing_else_is_late(state: State) -> None:
    facts: dict[str, Any] = {"active": 0.0, "since": 0.0, "awaits_body": False, "draining": False}
    late = overdue(state, 1000.0, SETTINGS, **facts)
    assert (late is not None) == (state in (State.IDLE, State.HEAD, State.LINGERING))


def test_the_progress_of_writing() -> None:
    writing = WriteProgress(0.0)
    assert writing.look(0, 1.0, is_blocked=False) == 0.0
    assert writing.look(10, 2.0, is_blocked=False) == 0.0  # it begins
    assert writing.look(10, 5.0, is_blocked=False) == 3.0
    assert writing.look(9, 6.0, is_blocked=False) == 0.0  # it took a byte
    assert writing.look(12, 8.0, is_blocked=False) == 2.0  # more was written, and nothing taken
    assert writing.look(0, 9.0, is_blocked=False) == 0.0
    writing.restart(10.0)
    assert writing.look(0, 13.0, is_blocked=True) == 3.0  # the transport says that it takes nothing
    assert writing.look(0, 14.0, is_blocked=True) == 4.0  # however often one looks
    assert writing.look(0, 15.0, is_blocked=False) == 0.0


def application() -> HTTPListener:
    app = HTTPListener()

    @app.get("/blob")
    async def blob() -> bytes:
        return b"x" * 16_000

    @app.get("/large")
    async def large() -> bytes:
        return b"x" * 8_000_000

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    @app.post("/body")
    async def body(request: Request) -> str:
        return str(len(await request.body()))

    @app.post("/ignores")
    async def ignores() -> str:
        return "ignored"

    return app


async def deaf(server: Serving) -> Client:
    """Connect a client whose kernel takes little, and that reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.setblocking(False)  # noqa: FBT003
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
    client = Client(*await asyncio.open_connection(sock=sock))
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    server._clients.append(client)
    return client


async def stuck(client: Client, http: HTTPServer) -> None:
    """Ask until a part of a response, but less than what pauses writing, is left in the server's memory."""
    await until(lambda: len(http.connections) == 1)
    (connection,) = http.connections
    while not connection.transport.get_write_buffer_size():
        served = http.hooks.dispatched
        await client.send(get("/blob"))
        await until(lambda: http.hooks.dispatched > served)  # noqa: B023
    assert not connection.is_blocked


@pytest.mark.parametrize("then", ["nothing", "closes its side", "says that it was the last", "a drain"])
def test_a_client_that_does_not_take_the_tail_of_a_response(runner: asyncio.Runner, then: str) -> None:
    """Less than what makes a transport pause: nobody is told that the client takes nothing."""

    async def main() -> None:
        async with serving(application(), write_timeout=0.3, keep_alive_timeout=100.0) as server:
            client = await deaf(server)
            assert server.app.http.server is not None
            http = server.app.http.server
            await stuck(client, http)
            if then == "closes its side":
                client.writer.write_eof()
            elif then == "says that it was the last":
                await client.send(get("/blob", fields="Connection: close\r\n"))
            elif then == "a drain":
                http.drain()
            await until(lambda: not http.connections)

    runner.run(main())


@pytest.mark.parametrize("target", ["/large", "/stream"])
def test_a_client_that_takes_nothing_of_a_response(runner: asyncio.Runner, target: str) -> None:
    async def main() -> None:
        async with serving(application(), write_timeout=0.3, keep_alive_timeout=100.0) as server:
            client = await deaf(server)
            await client.send(get(target))
            assert server.app.http.server is not None
            http = server.app.http.server
            await until(lambda: any(connection.is_blocked for connection in http.connections))
            state = next(iter(http.connections)).state
            assert state in (State.RESPONDING, State.STREAMING)
            await until(lambda: not http.connections and not http.exchanges)

    runner.run(main())


def test_a_client_that_takes_a_little_now_and_then_is_in_time(runner: asyncio.Runner) -> None:
    """Its response takes many times the limit; but never is nothing taken for so long."""

    async def main() -> None:
        async with serving(application(), write_timeout=0.5) as server:
            client = await server.connect()
            assert server.app.http.server is not None
            loop = asyncio.get_running_loop()
            began, size = loop.time(), 0
            await client.send(get("/stream"))
            while loop.time() - began < 2:
                size += len(await client.reader.readexactly(2_000_000))
                client.writer.transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(0.1)
                client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            assert server.app.http.server.connections
            assert size > 10_000_000

    runner.run(main())


@pytest.mark.parametrize("target", [b"/body", b"/ignores", b"/nothing"])
@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
def test_a_body_that_stalls(runner: asyncio.Runner, target: bytes, framing: bytes) -> None:
    """Whether the handler waits for it, or has answered and the rest is to be discarded."""

    async def main() -> None:
        async with serving(application(), body_timeout=0.2, keep_alive_timeout=100.0) as server:
            client = await server.connect()
            await client.send(b"POST " + target + b" HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n1\r\n")
            status = (await client.receive()).status
            assert status == {b"/body": 408, b"/ignores": 200, b"/nothing": 404}[target]
            assert await client.is_closed()
            assert server.app.http.server is not None
            http = server.app.http.server
            await until(lambda: not http.exchanges)

    runner.run(main())
