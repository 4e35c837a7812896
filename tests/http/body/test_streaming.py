"""Responses that are sent as they come, with and without a length."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from tests.http.helpers import serving
from tiny_listener.http import HTTPListener, StreamingResponse

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
closed: list[str] = []


async def pieces() -> AsyncIterator[str | bytes]:
    try:
        yield "Gr\u00fc\u00df "
        await asyncio.sleep(0)
        yield b"dich"
    finally:
        closed.append("closed")


def application(length: int | None, status: int = 200) -> HTTPListener:
    app = HTTPListener()

    @app.get("/")
    async def stream() -> StreamingResponse:
        return StreamingResponse(pieces(), status, {"x-kind": "stream"}, "text/html", length=length)

    return app


def test_without_a_length_it_comes_in_chunks(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving(application(None)) as server:
            client = await server.connect()
            for _ in range(2):
                await client.send(ASK)
                response = await client.receive()
                assert response.body == "Gr\u00fc\u00df dich".encode()
                assert response.headers["transfer-encoding"] == "chunked"
                assert response.headers["content-type"] == "text/html"
                assert response.headers["x-kind"] == "stream"
                assert "content-length" not in response.headers

    runner.run(main())


def test_with_its_length_it_is_announced(runner: asyncio.Runner) -> None:
    async def main() -> None:
        closed.clear()
        async with serving(application(11)) as server:
            client = await server.connect()
            for _ in range(2):
                await client.send(ASK)
                response = await client.receive()
                assert response.body == "Gr\u00fc\u00df dich".encode()
                assert response.headers["content-length"] == "11"
                assert "transfer-encoding" not in response.headers
            await client.send(ASK.replace(b"GET", b"HEAD"))
            response = await client.receive(head_only=True)
            assert (response.headers["content-length"], response.body) == ("11", b"")
        assert closed == ["closed"] * 2  # the third never began

    runner.run(main())


@pytest.mark.parametrize(
    ("length", "received", "message"),
    [
        (12, "Gr\u00fc\u00df dich".encode(), "a stream of 12 bytes ended 1 bytes early"),
        (10, "Gr\u00fc\u00df ".encode(), "a stream of 10 bytes continues after them"),
    ],
)
def test_a_body_of_another_length_ends_the_connection(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, length: int, received: bytes, message: str
) -> None:
    async def main() -> None:
        closed.clear()
        async with serving(application(length)) as server:
            client = await server.connect()
            await client.send(ASK + ASK)  # no second answer may be taken for the rest of the first
            data = b""
            try:
                while piece := await client.reader.read(4096):
                    data += piece
            except ConnectionResetError:
                pass
            head, _, body = data.partition(b"\r\n\r\n")
            assert b"content-length: %d" % length in head
            assert received.startswith(body)
        assert closed == ["closed"]

    with caplog.at_level(logging.ERROR):
        runner.run(main())
    assert message in caplog.text


def test_what_is_no_stream() -> None:
    with pytest.raises(TypeError, match=r"async iterable.*not list"):
        StreamingResponse([b"a"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 or more bytes, not -1"):
        StreamingResponse(pieces(), length=-1)
    with pytest.raises(ValueError, match="control character"):
        StreamingResponse(pieces(), headers={"a": "\n"})
