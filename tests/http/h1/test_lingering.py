"""The last response reaches a client that still sends, and such a client is not borne forever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from tests.http.helpers import Client, Serving, serving, until
from tiny_listener.http import HTTPListener, Response
from tiny_listener.http.h1 import intake
from tiny_listener.http.h1 import server as server_module
from tiny_listener.http.h1.connection import HTTPConnection
from tiny_listener.http.h1.server import HTTPServer
from tiny_listener.http.h1.states import State
from tiny_listener.http.h1.upkeep import enforce_limits

LENGTH = b"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
MANY = 8 * 1024 * 1024
"""Bytes; more than the buffers of a socket hold."""


def ask_first_read_then(port: int, data: bytes) -> bytes:
    """Send all of it, and only then read, to the end: as simple clients do."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(data)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (LENGTH % MANY + b"x" * MANY, b"413"),
        (CHUNKED.replace(b"/echo", b"/small") + b"100000\r\n" + b"x" * MANY, b"413"),
        (CHUNKED + b"x" * MANY, b"400"),
        (b"GARBAGE\r\n\r\n" + b"x" * MANY, b"400"),
        (b"GET / HTTP/1.1\r\n" + b"x" * MANY, b"431"),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * MANY, b"501"),
        (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 300_000, b"400"),
    ],
    ids=["length", "chunks", "chunk size", "garbage", "fields", "tunnel", "requests"],
)
def test_a_client_that_still_sends_reads_why_not(runner: asyncio.Runner, data: bytes, status: bytes) -> None:
    async def main() -> None:
        async with serving() as server:
            answer = await asyncio.to_thread(ask_first_read_then, server.port, data)
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert answer.count(b"\r\ndate: ") == 1
            assert b"\r\nconnection: close\r\n" in answer

    runner.run(main())


async def refused(server: Serving) -> tuple[Client, HTTPServer]:
    """Return a client that was refused and whose connection lingers."""
    client = await server.connect()
    assert (await client.ask(LENGTH % MANY)).status == 413
    assert await client.is_closed()
    assert server.app.http.server is not None
    await until(lambda: bool(server.app.http.server and server.app.http.server.lingering))
    assert set(server.app.http.server.lingering) == server.app.http.server.connections
    return client, server.app.http.server


async def sends_until(client: Client, condition: Callable[[], bool]) -> None:
    while not condition():
        client.writer.write(b"x")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("settings", [{"linger_time": 0.1}, {"linger_timeout": 0.1}], ids=["time", "idle"])
def test_time_is_limited(runner: asyncio.Runner, settings: dict[str, Any]) -> None:
    async def main() -> None:
        async with serving(**settings) as server:
            client, http = await refused(server)
            ended = (
                sends_until(client, lambda: not http.lingering)
                if "linger_time" in settings
                else until(lambda: not http.lingering)
            )
            await asyncio.wait_for(ended, 10)

    runner.run(main())


def test_the_amount_is_limited(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_DISCARDED", 10)

    async def main() -> None:
        async with serving() as server:
            client, http = await refused(server)
            await client.send(b"x" * 10)
            (connection,) = http.lingering
            await asyncio.wait_for(until(lambda: connection.intake._discarded == 10), 10)
            assert http.lingering
            await client.send(b"x")
            await asyncio.wait_for(until(lambda: not http.lingering), 10)

    runner.run(main())


def test_the_end_of_the_client_ends_it(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving() as server:
            client, http = await refused(server)
            client.writer.close()
            await asyncio.wait_for(until(lambda: not http.lingering), 10)

    runner.run(main())


def test_a_drain_waits_for_it_but_not_long(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving(linger_time=1000, linger_timeout=0.1) as server:
            client, http = await refused(server)
            sends = asyncio.ensure_future(sends_until(client, lambda: not http.lingering))
            http.drain()
            await asyncio.wait_for(http.wait_drained(), 10)
            await sends
            assert not http.lingering

    runner.run(main())


def test_an_abort_ends_it(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving() as server:
            _, http = await refused(server)
            assert http.abort() == []  # nothing is in flight
            await asyncio.wait_for(until(lambda: not http.lingering), 10)

    runner.run(main())


def test_who_reads_slowly_is_not_cut_off(runner: asyncio.Runner) -> None:
    app = HTTPListener()

    @app.post("/big")
    async def big() -> Response:
        return Response(b"x" * MANY)

    async def main() -> None:
        async with serving(app, linger_time=0.05, linger_timeout=0.05) as server:
            client = await server.connect()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(b"POST /big HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            await until(lambda: bool(app.http.server and app.http.server.lingering))
            assert app.http.server is not None
            (connection,) = app.http.server.lingering
            with mock.patch.object(server_module, "enforce_limits", side_effect=enforce_limits) as checks:
                await asyncio.wait_for(until(lambda: checks.call_count > 10), 10)
            assert app.http.server.lingering == [connection]
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            response = await client.receive()
            assert (response.headers["connection"], len(response.body)) == ("close", MANY)
            assert await client.is_closed()

    runner.run(main())


def test_who_reads_nothing_is_cut_off(runner: asyncio.Runner) -> None:
    app = HTTPListener()

    @app.post("/big")
    async def big() -> Response:
        return Response(b"x" * MANY)

    async def main() -> None:
        async with serving(app, write_timeout=0.1) as server:
            client = await server.connect()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(b"POST /big HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            await until(lambda: bool(app.http.server and app.http.server.lingering))
            await asyncio.wait_for(until(lambda: not (app.http.server and app.http.server.lingering)), 10)

    runner.run(main())


@pytest.mark.parametrize("fails", [False, True], ids=["no half-closed connections", "reset"])
def test_a_transport_that_cannot_linger_closes(runner: asyncio.Runner, fails: bool) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            await client.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert server.app.http.server is not None
            (connection,) = server.app.http.server.connections
            transport = mock.Mock(wraps=connection.transport)
            transport.can_write_eof = lambda: fails
            transport.write_eof = mock.Mock(side_effect=OSError)
            connection.transport = transport
            response = await client.ask(LENGTH % MANY)
            assert response.status == 413
            assert await client.is_closed()
            assert transport.write_eof.called == transport.abort.called == fails
            await asyncio.wait_for(until(lambda: not server.app.http.server.lingering), 10)  # type: ignore[union-attr]

    runner.run(main())


def test_who_ends_itself_is_not_lingered_for(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving() as server:
            assert server.app.http.server is not None
            states = []
            step = HTTPConnection.step

            def note(connection: HTTPConnection, new: State) -> None:
                states.append(new)
                step(connection, new)

            with mock.patch.object(HTTPConnection, "step", note):
                for last in (b"HTTP/1.0\r\n\r\n", b"HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
                    client = await server.connect()
                    assert (await client.ask(b"GET / " + last)).status == 200
                    assert await client.is_closed()
                client = await server.connect()
                await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
                client.writer.write_eof()
                assert (await client.receive()).status == 400
                assert await client.is_closed()
            assert State.CLOSING in states
            assert State.LINGERING not in states

    runner.run(main())
