"""A response that is the last of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.http.helpers import serving
from tests.http.walls import get
from tiny_listener.http import HTTPListener


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_stream_that_ends_with_its_connection_is_the_last(runner: asyncio.Runner, version: str) -> None:
    """HTTP/1.0 has no chunks: whatever follows would be read as a part of the body."""
    app = HTTPListener()

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "one"
        await asyncio.sleep(0)
        yield "two"

    @app.get("/")
    async def home() -> str:
        return "second"

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            ask = get("/stream", version, "Connection: keep-alive\r\n")
            await client.send(ask + get("/", version, "Connection: keep-alive\r\n"))
            response = await client.receive()
            if version == "1.0":
                assert (response.body, response.headers["connection"]) == (b"onetwo", "close")
                assert await client.is_closed()
            else:
                assert response.body == b"onetwo"
                assert (await client.receive()).body == b"second"

    runner.run(main())
