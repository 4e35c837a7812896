"""Attacks on bodies, and on the descriptors that responses hold."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tests.http.helpers import serving
from tests.http.walls import get, http_of, in_time, until
from tiny_listener.http import FileResponse, HTTPListener, Request, Response, StreamingResponse


def test_a_body_may_be_read_by_two_at_once(runner: asyncio.Runner) -> None:
    """Two who ask for the body at once get all of it, in whatever packets it comes."""
    app = HTTPListener()

    @app.post("/")
    async def handler(request: Request) -> list[str]:
        return [text.decode() for text in await asyncio.gather(request.body(), request.body(), request.body())]

    async def main() -> None:
        async with serving(app) as server:
            for pieces in ([b"whole"], [b"who", b"le"]):
                client = await server.connect()
                await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n" + pieces[0])
                for piece in pieces[1:]:
                    await until(lambda: bool(http_of(server).exchanges))
                    await client.send(piece)
                assert (await client.receive()).body == b'["whole","whole","whole"]'

    runner.run(in_time(main()))


def test_a_body_whose_reading_was_cancelled_is_not_read_in_part(runner: asyncio.Runner) -> None:
    """A hook gives up waiting for the body; who asks for it later gets all of it, or is told why not."""
    app = HTTPListener()
    waits = asyncio.Event()

    @app.post("/")
    async def handler(request: Request) -> bytes:
        reading = asyncio.ensure_future(request.body())
        await until(lambda: request.arriving is not None and not request.arriving.buffered)
        reading.cancel()
        await asyncio.wait([reading])
        waits.set()
        return await request.body()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst")
            await waits.wait()
            await client.send(b"+last")
            response = await client.receive()
            assert (response.status, response.body) == (200, b"first+last") or response.status == 500

    runner.run(in_time(main()))


def test_a_file_whose_head_cannot_be_made_is_closed(runner: asyncio.Runner, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    app = HTTPListener()

    @app.get("/")
    async def file_of() -> FileResponse:
        response = FileResponse(path)
        response.headers.raw.append((b"x", b"a\r\nb"))
        return response

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            assert (await client.ask(get("/"))).status == 500
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(20):
                assert (await client.ask(get("/"))).status == 500
            assert len(os.listdir("/proc/self/fd")) <= before

    runner.run(in_time(main(), 10))


def test_a_stream_whose_head_cannot_be_made_is_closed(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    closed: list[str] = []

    class Pieces(AsyncIterator[bytes]):
        async def __anext__(self) -> bytes:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            closed.append("closed")

    @app.get("/")
    async def handler() -> Response:
        response = StreamingResponse(Pieces())
        response.headers.raw.append((b"x", b"a\r\nb"))
        return response

    async def main() -> None:
        async with serving(app) as server:
            assert (await server.get("/")).status == 500
            await until(lambda: closed)

    runner.run(in_time(main(), 5))
