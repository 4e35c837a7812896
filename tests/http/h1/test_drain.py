"""A drain: each connection ends with its last response, and idle ones are closed."""

from __future__ import annotations

import asyncio

from tests.http.helpers import serving, until
from tiny_listener.http import HTTPListener

HOST = b"Host: x\r\n\r\n"


def test_a_drain_answers_what_was_asked(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    release = asyncio.Event()

    @app.get("/wait")
    async def wait() -> str:
        await release.wait()
        return "done"

    async def main() -> None:
        async with serving(app) as server:
            idle, busy, fresh = [await server.connect() for _ in range(3)]
            assert (await idle.ask(b"GET /x HTTP/1.1\r\n" + HOST)).status == 404
            await busy.send((b"GET /wait HTTP/1.1\r\n" + HOST) * 3)
            while app.http.server is None or not app.http.server.exchanges:
                await asyncio.sleep(0)
            app.http.server.drain()
            drained = asyncio.ensure_future(app.http.server.wait_drained())
            assert await idle.is_closed()
            response = await fresh.ask(b"GET /x HTTP/1.1\r\n" + HOST)
            assert (response.status, response.headers["connection"]) == (404, "close")
            release.set()
            answers = [await busy.receive() for _ in range(3)]
            assert [a.headers.get("connection") for a in answers] == [None, None, "close"]
            assert await busy.is_closed()
            await asyncio.wait_for(drained, 10)

    runner.run(main())


def test_a_drain_lets_those_in_use_ask_once_more_and_closes_what_is_idle(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving() as server:
            old, used, unused = [await server.connect() for _ in range(3)]
            for client in (old, used, unused):
                assert (await client.ask(b"GET /x HTTP/1.1\r\n" + HOST)).status == 404
            http = server.app.http.server
            assert http is not None
            http.drain()
            assert len(http.connections) == 3
            last = await used.ask(b"GET /x HTTP/1.1\r\n" + HOST)
            assert (last.status, last.headers["connection"]) == (404, "close")
            assert await old.is_closed()
            assert await unused.is_closed()
            await asyncio.wait_for(http.wait_drained(), 10)

    runner.run(main())


def test_what_was_answered_late_is_idle_from_its_answer_on(runner: asyncio.Runner) -> None:
    app = HTTPListener(keep_alive_timeout=0.2)

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(0.5)
        return "done"

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            assert (await client.ask(b"GET /slow HTTP/1.1\r\n" + HOST)).body == b"done"
            http = app.http.server
            assert http is not None
            swept = http.now
            await until(lambda: http.now > swept)
            assert (await client.ask(b"GET /x HTTP/1.1\r\n" + HOST)).status == 404
            assert await client.is_closed()

    runner.run(main())
