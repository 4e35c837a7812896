"""Bodies that no handler reads, or that are read while the response is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tests.http.helpers import Client, serving
from tests.http.walls import http_of, until
from tiny_listener.http import HTTPListener, Request


def test_a_body_that_nobody_reads_is_discarded_up_to_a_limit(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    release = asyncio.Event()

    @app.post("/at-once")
    async def at_once() -> str:
        return "not read"

    @app.post("/waits")
    async def waits() -> str:
        await release.wait()
        return "not read"

    async def endless(client: Client, sent: list[int]) -> None:
        piece = b"400\r\n" + b"x" * 1024 + b"\r\n"
        while True:
            await client.send(piece * 50)
            sent.append(50 * 1024)

    async def main() -> None:
        for target in ("at-once", "waits"):
            async with serving(app, max_body=100_000, linger_time=0.2) as server:
                http = http_of(server)
                client = await server.connect()
                head = f"POST /{target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                await client.send(head.encode())
                sent: list[int] = []
                sending = asyncio.ensure_future(endless(client, sent))
                if target == "waits":
                    await until(lambda http=http: any(not c.pipeline.takes_more for c in http.connections))  # type: ignore[misc]
                    release.set()
                response = await client.receive()
                assert response.body == b"not read" if target == "at-once" else response.status in (200, 413)
                await until(lambda http=http: not http.connections)  # type: ignore[misc]
                sending.cancel()
                await asyncio.wait({sending})

    runner.run(main())


def test_a_body_that_was_not_read_and_ends_in_time_keeps_the_connection(runner: asyncio.Runner) -> None:
    app = HTTPListener()

    @app.post("/")
    async def ignore() -> str:
        return "not read"

    async def main() -> None:
        async with serving(app, max_body=1000) as server:
            client = await server.connect()
            head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            for _ in range(3):
                await client.send(head)
                assert (await client.receive()).body == b"not read"
                await client.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n")

    runner.run(main())


def test_a_response_that_echoes_its_body_as_it_comes(runner: asyncio.Runner) -> None:
    """Also on a connection's last request: the rest of the body is read though no further request is."""
    app = HTTPListener()

    @app.post("/")
    async def echo(request: Request) -> AsyncIterator[bytes]:
        async for piece in request.stream():
            yield piece

    async def main() -> None:
        async with serving(app) as server:
            for fields in (b"", b"Connection: close\r\n"):
                client = await server.connect()
                await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%b\r\n" % fields)
                await client.reader.readuntil(b"\r\n\r\n")
                for _ in range(3):
                    await client.send(b"3\r\nabc\r\n")
                    assert await asyncio.wait_for(client.reader.readexactly(8), 10) == b"3\r\nabc\r\n"
                await client.send(b"0\r\n\r\n")
                assert await asyncio.wait_for(client.reader.readexactly(5), 10) == b"0\r\n\r\n"
                if fields:
                    assert await client.is_closed()

    runner.run(main())
