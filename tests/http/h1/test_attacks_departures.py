"""Attacks by clients that are gone, or take nothing, at the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.helpers import Client, serving
from tests.http.walls import get, http_of, reset, until
from tiny_listener.http import FileResponse, HTTPListener, Request, Response
from tiny_listener.http.h1.timeouts import WriteProgress
from tiny_listener.http.response import DeferredResponse


async def endless_pieces(log: list[str]) -> AsyncIterator[str]:
    try:
        yield "first"
        await asyncio.Event().wait()
    finally:
        log.append("closed")


def endless() -> tuple[HTTPListener, list[str]]:
    app = HTTPListener()
    log: list[str] = []

    @app.get("/stream")
    async def stream() -> Response:
        return Response(endless_pieces(log))

    @app.post("/stream")
    async def posted() -> Response:
        return Response(endless_pieces(log))

    @app.get("/later")
    async def later() -> Response:
        await asyncio.sleep(0)
        return Response(endless_pieces(log))

    @app.get("/disconnected")
    async def disconnected(request: Request) -> str:
        await request.disconnected()
        log.append("closed")
        return "gone"

    @app.get("/")
    async def home() -> str:
        return "home"

    return app, log


BEHIND = {
    "many requests": b"".join([get("/")] * 60),
    "much": get("/") * 3000,
    "a body": b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"x" * 600_000,
}


@pytest.mark.parametrize("leave", ["reset", "close"])
@pytest.mark.parametrize("target", ["/stream", "/disconnected"])
@pytest.mark.parametrize("behind", BEHIND)
def test_a_client_that_is_gone_is_noticed_whatever_it_sent_before(
    runner: asyncio.Runner, behind: str, target: str, leave: str
) -> None:
    """What waits behind a stream pauses reading; and who does not read does not see that the client is gone."""
    app, log = endless()

    async def main() -> None:
        async with serving(app, keep_alive_timeout=0.2) as server:
            http = http_of(server)
            client = await server.connect()
            first = b"" if behind == "a body" and target == "/stream" else get(target)
            await client.send(first + BEHIND[behind])
            await until(lambda: len(http.exchanges) == 1)
            if target == "/stream":
                await client.reader.readuntil(b"first")
            await until(lambda: all(connection.intake.is_paused for connection in http.connections))
            if leave == "reset":
                reset(client)
            else:
                client.writer.close()
            await until(lambda: "closed" in log)
            await until(lambda: not http.exchanges and not http.connections)

    runner.run(main())


@pytest.mark.parametrize("target", ["/stream", "/later"])
def test_a_client_that_closed_its_side_before_a_stream_began_is_watched(runner: asyncio.Runner, target: str) -> None:
    app, log = endless()

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            client = await server.connect()
            await client.send(get(target))
            client.writer.write_eof()
            await client.reader.readuntil(b"first")
            client.writer.close()
            await until(lambda: "closed" in log)
            await until(lambda: not http.exchanges and not http.connections)

    runner.run(main())


def test_each_stream_of_a_client_that_closed_its_side_is_watched(runner: asyncio.Runner) -> None:
    """The first of two ends by itself; the second waits, with a handler between them that waits a little."""
    app, log = endless()

    @app.get("/short")
    async def short() -> AsyncIterator[str]:
        yield "short"
        await asyncio.sleep(0)

    @app.get("/much-later")
    async def much_later() -> Response:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 0.7:  # longer than a stream may wait
            await asyncio.sleep(0.01)
        return Response(endless_pieces(log))

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            client = await server.connect()
            await client.send(get("/short") + get("/much-later"))
            client.writer.write_eof()
            await client.reader.readuntil(b"first")
            client.writer.close()
            await until(lambda: "closed" in log)
            await until(lambda: not http.exchanges and not http.connections)

    runner.run(main())


def test_a_client_that_closed_its_side_gets_what_takes_a_while_to_prepare(runner: asyncio.Runner) -> None:
    """No stream waits there, and no piece: a handler may take as long."""
    app = HTTPListener()
    started: list[float] = []

    class Slow(DeferredResponse):
        async def prepare(self, request: Request) -> Response:
            loop = asyncio.get_running_loop()
            started.append(loop.time())
            while loop.time() - started[0] < 1.0:
                await asyncio.sleep(0.01)
            return Response("prepared")

    @app.get("/")
    async def handler() -> Response:
        return Slow()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/"))
            client.writer.write_eof()
            assert (await client.receive()).body == b"prepared"

    runner.run(main())


def test_a_client_that_closes_its_side_gets_the_whole_of_a_large_file(runner: asyncio.Runner, tmp_path: Path) -> None:
    """The kernel sends it: each piece that it takes is progress."""
    path = tmp_path / "large"
    size = 3_000_000_000
    with path.open("wb") as file:
        file.truncate(size)
    app = HTTPListener()

    @app.get("/")
    async def file_of() -> FileResponse:
        return FileResponse(path)

    async def read(client: Client) -> int:
        await client.reader.readuntil(b"\r\n\r\n")
        got = 0
        while piece := await client.reader.read(1 << 20):
            got += len(piece)
        return got

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/"))
            client.writer.write_eof()
            assert await read(client) == size

    runner.run(main())


@pytest.mark.parametrize("unsent", [0, 1, 100])
def test_a_blocked_client_has_no_more_time_however_often_it_is_looked_at(unsent: int) -> None:
    """Nothing is unsent, and the client takes nothing, while the kernel sends a file."""
    progress = WriteProgress(0.0)
    for second in range(100):
        assert progress.look(unsent, float(second), is_blocked=True) == float(second)


def test_a_client_that_takes_nothing_of_a_large_file(runner: asyncio.Runner, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    app = HTTPListener()

    @app.get("/")
    async def file_of() -> FileResponse:
        return FileResponse(path)

    async def main() -> None:
        async with serving(app, write_timeout=0.2) as server:
            client = await server.connect()
            transport: Any = client.writer.transport
            transport.pause_reading()
            await client.send(get("/"))
            await until(lambda: http_of(server).exchanges)
            await until(lambda: not http_of(server).exchanges and not http_of(server).connections)

    runner.run(main())
