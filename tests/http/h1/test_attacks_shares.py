"""Attacks by one connection on the others of its worker."""

from __future__ import annotations

import asyncio
import time
import traceback
from typing import Any

import pytest

from tests.http.helpers import serving
from tests.http.memory import MemoryTransport
from tests.http.walls import get, in_time, until
from tiny_listener.http import HTTPError, HTTPListener, Request
from tiny_listener.http.h1.server import HTTPServer


def test_one_connection_has_a_share_of_time(runner: asyncio.Runner) -> None:
    """Not of requests only: each may take some milliseconds, in its handler or before that, in 8 KiB of escapes."""
    app = HTTPListener()
    handled = 0
    worst = 0

    @app.get("/busy")
    async def busy() -> str:
        nonlocal handled
        handled += 1
        began = time.perf_counter()
        while time.perf_counter() - began < 0.003:
            pass
        return "busy"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        last = 0

        def tick() -> None:
            nonlocal last, worst
            worst, last = max(worst, handled - last), handled
            if handled < 64:
                loop.call_soon(tick)

        server = HTTPServer(app, app.settings)
        await until(lambda: server.pool.idle)
        end = MemoryTransport(server)
        await end.feed(get("/busy") * 64)
        tick()
        await until(lambda: end.written.count(b"200 OK") == 64)
        server.abort()

    runner.run(main())
    assert worst <= 16


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("size", [1, 4000])
def test_responses_are_in_order_whatever_arrives_while_a_handler_runs(
    runner: asyncio.Runner, size: int, late: bool
) -> None:
    """A loop within a loop (nest_asyncio): a handler runs, and more of its own connection is read meanwhile."""
    app = HTTPListener()

    @app.get("/first")
    async def first(request: Request) -> str:
        request.connection.data_received(get("/next") * size)  # type: ignore[attr-defined]
        http.work()
        if late:
            await asyncio.sleep(0)
        return "first"

    @app.get("/next")
    async def second() -> str:
        return "next"

    http: Any = None

    async def main() -> None:
        nonlocal http
        http = server = HTTPServer(app, app.settings)
        await until(lambda: server.pool.idle)
        end = MemoryTransport(server)
        await end.feed(get("/first"))
        await until(lambda: end.written.count(b"200 OK") == size + 1)
        assert bytes(end.written).index(b"first") < bytes(end.written).index(b"next")
        assert not server.exchanges
        server.abort()

    runner.run(in_time(main(), 20))


@pytest.mark.parametrize("late", [False, True])
def test_an_error_that_is_raised_again_and_again_keeps_no_request_alive(runner: asyncio.Runner, late: bool) -> None:
    """`NOT_FOUND = HTTPError(404)` at the top of a module: its traceback holds the frames of each request."""
    app = HTTPListener()
    error = HTTPError(404)

    @app.get("/")
    async def handler() -> str:
        if late:
            await asyncio.sleep(0)
        raise error

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            for _ in range(50):
                assert (await client.ask(get("/"))).status == 404

    runner.run(in_time(main()))
    assert len(list(traceback.walk_tb(error.__traceback__))) < 50
