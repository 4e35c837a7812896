"""One connection has its share of an iteration, and of the concurrency."""

from __future__ import annotations

import asyncio

from tests.http.helpers import serving
from tests.http.memory import MemoryTransport
from tests.http.walls import get, http_of, until, waiting_application
from tiny_listener import Param
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPListener
from tiny_listener.http.h1.server import HTTPServer


def test_one_connection_does_not_use_up_the_concurrency(runner: asyncio.Runner) -> None:
    app, release = waiting_application()

    async def main() -> None:
        async with serving(app, limit_concurrency=2) as server:
            http = http_of(server)
            greedy, other = await server.connect(), await server.connect()
            await greedy.send(get("/wait") + get("/") * 150)
            await until(lambda: len(http.exchanges) == 1)
            assert (await other.ask(get("/"))).body == b"home"
            release.set()
            assert (await greedy.receive()).body == b"woken"
            for _ in range(150):
                assert (await greedy.receive()).body == b"home"

    runner.run(main())


def test_one_connection_has_a_share_of_an_iteration(runner: asyncio.Runner) -> None:
    """Who pipelines thousands of requests does not keep another waiting behind them."""
    app = HTTPListener()
    order: list[str] = []

    @app.get("/{name}")
    async def note(name: Param) -> str:
        order.append(str(name))
        return str(name)

    async def main() -> None:
        app.attach(Host())
        server = HTTPServer(app, app.settings)
        greedy, other = MemoryTransport(server), MemoryTransport(server)
        await greedy.feed(get("/greedy") * 1000)
        await other.feed(get("/other"))
        await until(lambda: len(order) == 1001)
        assert order.index("other") <= 200
        await until(lambda: greedy.written.count(b"HTTP/1.1 200") == 1000)
        await greedy.end()
        await other.end()
        server.abort()

    runner.run(main())
