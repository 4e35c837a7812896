"""Bodies of requests: whole, in pieces, too late, too long, unwanted."""

from __future__ import annotations

import asyncio
from functools import partial
from operator import contains
from unittest import mock

import pytest

from tests.http.helpers import serving, until
from tiny_listener.http.body.incoming import IncomingBody

HOST = b"Host: x\r\n\r\n"


@pytest.mark.parametrize("path", ["/echo", "/pieces", "/json", "/ignore", "/small"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_bodies(runner: asyncio.Runner, path: str, chunked: bool, split: bool) -> None:
    body = b'"12345678"'
    expected = {"/echo": body, "/pieces": b"10", "/json": b'{"got":"12345678"}', "/ignore": b"ignored", "/small": body}

    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode()
            if chunked:
                data = head + b'Transfer-Encoding: chunked\r\n\r\n3;x=y\r\n"12\r\n7\r\n345678"\r\n0\r\nT: 1\r\n\r\n'
            else:
                data = head + b"Content-Length: 10\r\n\r\n" + body
            for _ in range(2):
                if split:
                    for i in range(len(data)):
                        await client.send(data[i : i + 1])
                        await asyncio.sleep(0)
                    response = await client.receive()
                else:
                    response = await client.ask(data)
                assert (response.status, response.body) == (200, expected[path])

    runner.run(main())


def test_a_body_that_nobody_handles_is_read_over(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            for _ in range(2):
                response = await client.ask(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
                assert response.status == 404
            assert (await client.ask(b"GET / HTTP/1.1\r\n" + HOST)).body == b"Welcome!"

    runner.run(main())


def test_expect_continue(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            head = b"POST %b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            assert (await client.ask(head % (b"/echo", 2))).status == 100
            assert (await client.ask(b"hi")).body == b"hi"
            # Nobody wants the body: no 100, and the connection cannot go on.
            response = await client.ask(head % (b"/ignore", 2))
            assert (response.status, response.body) == (200, b"ignored")
            assert response.headers["connection"] == "close"
            assert await client.is_closed()
            refused = await server.ask(head % (b"/small", 11))
            assert refused.status == 413

    runner.run(main())


@pytest.mark.parametrize("path", [b"/pieces", b"/echo"])
def test_100_continue_is_sent_once(runner: asyncio.Runner, path: bytes) -> None:
    fed: list[bytes] = []
    feed = IncomingBody.feed

    def spy(self: IncomingBody, piece: bytes) -> None:
        fed.append(piece)
        feed(self, piece)

    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            head = b"POST %b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n" % path
            assert (await client.ask(head)).status == 100
            for piece in (b"a", b"b"):
                await client.send(piece)
                await asyncio.wait_for(until(partial(contains, fed, piece)), 10)
            assert (await client.ask(b"c")).status == 200

    with mock.patch.object(IncomingBody, "feed", spy):
        runner.run(main())


@pytest.mark.parametrize("rest", [b"g\r\n", b"1\r\nab"])
def test_a_body_that_breaks_after_the_answer_gets_no_other(runner: asyncio.Runner, rest: bytes) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            head = b"POST /ignore HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert (await client.ask(head)).body == b"ignored"
            await client.send(rest)
            assert await client.is_closed()

    runner.run(main())


def test_a_request_that_ends_early_is_no_failure(runner: asyncio.Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
            client.writer.write_eof()
            assert (await client.receive()).status == 400
            assert await client.is_closed()

    runner.run(main())
    assert not caplog.records
