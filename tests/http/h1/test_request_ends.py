"""Each request ends with one complete response, or with the end of its connection; and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.helpers import serving
from tests.http.memory import MemoryTransport
from tests.http.walls import get, http_of, reset, until
from tiny_listener import Param
from tiny_listener.core.runtime import Host
from tiny_listener.http import FileResponse, HTTPListener, Request, StreamingResponse
from tiny_listener.http.h1.server import HTTPServer
from tiny_listener.http.h1.states import State
from tiny_listener.http.h1.upkeep import enforce_limits


@pytest.mark.parametrize("item", [5, 0, [104, 105], {"a": 1}, None, 1.5, ("a",), "\udce9", object()])
@pytest.mark.parametrize("length", [None, 400])
def test_an_item_that_is_no_piece_ends_the_connection(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, item: Any, length: int | None
) -> None:
    """Nothing of it is sent: five NULs for the number 5, `hi` for a list of two numbers."""
    app = HTTPListener()

    @app.get("/")
    async def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[Any]:
            yield "one"
            yield item
            yield "two"

        return StreamingResponse(pieces(), length=length)

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/") + get("/"))
            data = b""
            try:
                while piece := await asyncio.wait_for(client.reader.read(4096), 10):
                    data += piece
            except ConnectionResetError:
                pass
            assert data.partition(b"\r\n\r\n")[2] in (b"3\r\none\r\n", b"one", b"")
            await until(lambda: app.http.server is not None and not app.http.server.exchanges)

    with caplog.at_level(logging.ERROR):
        runner.run(main())
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], (TypeError, UnicodeEncodeError))


@pytest.mark.parametrize("item", [b"one", "one", bytearray(b"one"), memoryview(b"one")])
def test_items_that_are_pieces(runner: asyncio.Runner, item: Any) -> None:
    app = HTTPListener()

    @app.get("/")
    async def stream() -> AsyncIterator[Any]:
        yield item
        yield b""

    async def main() -> None:
        async with serving(app) as server:
            assert (await server.get("/")).body == b"one"

    runner.run(main())


def endless_application() -> tuple[HTTPListener, list[str]]:
    app = HTTPListener()
    log: list[str] = []

    @app.get("/waits")
    async def waits() -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            log.append("closed")

    @app.get("/writes")
    async def writes() -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 1000
                await asyncio.sleep(0)
        finally:
            log.append("closed")

    @app.get("/stubborn")
    async def stubborn() -> AsyncIterator[str]:
        try:
            while True:
                yield "first"
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    log.append("goes on")
        finally:
            log.append("closed")

    @app.get("/late")
    async def late() -> AsyncIterator[str]:
        await asyncio.sleep(0.02)

        async def pieces() -> AsyncIterator[str]:
            try:
                await asyncio.Event().wait()
                yield "never"
            finally:
                log.append("closed")

        return pieces()

    @app.get("/not-begun")
    async def not_begun() -> AsyncIterator[str]:
        await asyncio.sleep(0.01)

        async def pieces() -> AsyncIterator[str]:
            log.append("begun")
            yield "first"

        return pieces()

    @app.get("/disconnected")
    async def disconnected(request: Request) -> str:
        await request.disconnected()
        log.append("closed")
        return "too late"

    return app, log


@pytest.mark.parametrize("leave", ["reset", "close", "close at once"])
@pytest.mark.parametrize("target", ["waits", "writes", "stubborn", "disconnected", "late"])
def test_a_client_that_is_gone_is_noticed(runner: asyncio.Runner, target: str, leave: str) -> None:
    app, log = endless_application()

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            client = await server.connect()
            await client.send(get(f"/{target}"))
            if target != "disconnected" and leave != "close at once":
                await client.reader.readuntil(b"\r\n\r\n")
            await until(lambda: len(http.exchanges) == 1)
            if leave == "reset":
                reset(client)
            else:
                client.writer.close()
            await until(lambda: "closed" in log)
            await until(lambda: not http.exchanges and not http.connections)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            await until(lambda: len(asyncio.all_tasks() - {asyncio.current_task()}) <= http.pool.idle, str(left))

    runner.run(main())


def test_a_stream_of_a_client_that_left_before_it_began(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    app, log = endless_application()

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            client = await server.connect()
            await client.send(get("/not-begun"))
            await until(lambda: len(http.exchanges) == 1)
            reset(client)
            await until(lambda: not http.exchanges and not http.connections)
            assert log == []

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    assert not caplog.records


def test_a_client_that_closes_its_side_still_gets_what_comes(runner: asyncio.Runner) -> None:
    app = HTTPListener()

    @app.get("/")
    async def stream() -> AsyncIterator[str]:
        for n in range(5):
            yield f"{n} "
            await asyncio.sleep(0.05)

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/"))
            client.writer.write_eof()
            assert (await client.receive()).body == b"0 1 2 3 4 "
            assert await client.is_closed()

    runner.run(main())


def test_a_file_of_a_client_that_is_gone_is_closed(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Descriptors go back to what they were, wherever the response was when the client left."""
    path = tmp_path / "large"
    path.write_bytes(b"x" * 5_000_000)
    app = HTTPListener()

    @app.get("/{kind}")
    async def file(kind: Param) -> FileResponse:
        if kind == "late":
            await asyncio.sleep(0)
        return FileResponse(path)

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            assert len((await server.get("/at-once")).body) == 5_000_000
            before = descriptors() - len(http.connections) * 2
            for kind in ("at-once", "late") * 10:
                client = await server.connect()
                await client.send(get(f"/{kind}"))
                await asyncio.sleep(0)
                reset(client)
            await until(lambda: not http.exchanges and len(http.connections) <= 1)
            await until(lambda: descriptors() <= before + 2 * len(http.connections))

    runner.run(main())


@pytest.mark.parametrize("target", ["/nothing", "/", "/late"])
def test_a_busy_client_whose_reads_end_within_a_head_is_in_time(runner: asyncio.Runner, target: str) -> None:
    app = HTTPListener(header_timeout=2.0)

    @app.get("/")
    async def home() -> str:
        return "home"

    @app.get("/late")
    async def late() -> str:
        await asyncio.sleep(0)
        return "late"

    async def main() -> None:
        app.attach(Host())
        server = HTTPServer(app, app.settings)
        transport = MemoryTransport(server)
        server._sweeper.cancel()  # which sets the clock right
        (connection,) = server.connections
        ask = get(target)
        await transport.feed(ask[:10])
        for number in range(1, 100):  # half a second each, by the server's clock
            server.now += 0.5
            await transport.feed(ask[10:] + ask[:10])
            await until(lambda number=number: transport.written.count(b"HTTP/1.1 ") == number)  # type: ignore[misc]
            await until(lambda: connection.state is State.HEAD)
            enforce_limits(connection, server.now)
        assert b"HTTP/1.1 408" not in transport.written
        enforce_limits(connection, server.now + 2.1)  # it never ends the last
        await until(lambda: b"HTTP/1.1 408" in transport.written)
        await transport.end()
        server.abort()

    runner.run(main())


def test_a_drain_waits_for_handlers_whose_clients_are_gone(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    release = asyncio.Event()
    done: list[str] = []

    @app.get("/")
    async def wait() -> str:
        await release.wait()
        done.append("done")
        return "done"

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            client = await server.connect()
            await client.send(get("/"))
            await until(lambda: len(http.exchanges) == 1)
            reset(client)
            await until(lambda: not http.connections)
            http.drain()
            drained = asyncio.ensure_future(http.wait_drained())
            await until(lambda: http._drained is not None)
            release.set()
            await asyncio.wait_for(drained, 10)
            assert done == ["done"]

    runner.run(main())


def test_an_abort_cancels_handlers_whose_clients_are_gone(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    app = HTTPListener()
    seen: list[str] = []

    @app.get("/{name}")
    async def wait(name: Param) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(name)
            raise
        return ""

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            gone, here = await server.connect(), await server.connect()
            await gone.send(get("/gone"))
            await here.send(get("/here"))
            await until(lambda: len(http.exchanges) == 2)
            reset(gone)
            await until(lambda: len(http.connections) == 1)
            assert sorted(http.abort()) == ["Request(GET '/gone')", "Request(GET '/here')"]
            await until(lambda: not http.exchanges and not http.connections)
            assert sorted(seen) == ["gone", "here"]

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    assert not caplog.records


def test_states_are_what_is_waited_for(runner: asyncio.Runner) -> None:
    app, _ = endless_application()
    release = asyncio.Event()

    @app.post("/handles")
    async def handles() -> str:
        await release.wait()
        return "done"

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            client = await server.connect()
            await until(lambda: len(http.connections) == 1)
            (connection,) = http.connections
            assert connection.state is State.IDLE
            await client.send(b"POST /handles HTTP/1.1\r\n")
            await until(lambda: connection.state is State.HEAD)
            await client.send(b"Host: x\r\nContent-Length: 5\r\n\r\n")
            await until(lambda: connection.state is State.HANDLING)
            release.set()
            assert (await client.receive()).body == b"done"
            await until(lambda: connection.state is State.BODY)
            await client.send(b"hello")
            await until(lambda: connection.state is State.IDLE)
            await client.send(get("/waits"))
            await until(lambda: connection.state is State.STREAMING)
            client.writer.close()
            await until(lambda: connection.state is State.DEAD)

    runner.run(main())
