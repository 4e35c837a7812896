"""`cancel_on_disconnect=True`: the handler ends with its client, and counts as cancelled."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.http.helpers import serving
from tests.http.walls import Counting, get, http_of, reset, until
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPListener, Request, Response


def application() -> tuple[HTTPListener, list[str], asyncio.Event, Counting]:
    app = HTTPListener()
    observer: Any = Counting()
    app.attach(Host(observer=observer))
    log: list[str] = []
    release = asyncio.Event()

    async def wait() -> str:
        log.append("began")
        try:
            await release.wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        log.append("ended")
        return "done"

    @app.get("/ends", cancel_on_disconnect=True)
    async def ends() -> str:
        return await wait()

    @app.post("/ends", cancel_on_disconnect=True)
    async def reads(request: Request) -> str:
        await request.body()
        return await wait()

    @app.get("/stays", cancel_on_disconnect=False)
    async def stays() -> str:
        return await wait()

    @app.get("/answers", cancel_on_disconnect=True)
    async def answers() -> Response:
        try:
            return Response(await wait())
        except asyncio.CancelledError:
            return Response("too late")

    @app.get("/")
    async def home() -> str:
        return "home"

    return app, log, release, observer


WAYS: dict[str, Any] = {
    "reset": reset,
    "close": lambda client: client.writer.close(),
    "close its side": lambda client: client.writer.write_eof(),
}
POST = b"POST /ends HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("data", [get("/ends"), POST + b"ab", get("/") + get("/ends")])
@pytest.mark.parametrize("way", WAYS)
def test_the_handler_ends_with_its_client(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, way: str, data: bytes, hooked: bool
) -> None:
    app, log, _, observer = application()
    if hooked:

        @app.on_response
        async def hook(request: Request | None, response: Response) -> None:
            log.append("hook")

    first = data.startswith(get("/"))

    async def main() -> None:
        async with serving(app) as server:
            client, other = await server.connect(), await server.connect()
            await client.send(data)
            await until(lambda: "began" in log)
            WAYS[way](client)
            await until(lambda: "cancelled" in log)
            await until(lambda: not http_of(server).exchanges)
            if way == "close its side":
                assert (await client.reader.read()).count(b"HTTP/1.1") == first
            assert observer.outcomes[-1] == "cancelled"
            assert (await other.ask(get("/"))).body == b"home"

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    assert not caplog.records
    assert log.count("hook") == (1 + first if hooked else 0)


def test_a_client_that_is_gone_before_the_handler_waits(runner: asyncio.Runner) -> None:
    app, log, _, observer = application()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            client.writer.write(POST + b"ab")
            client.writer.write_eof()
            await until(lambda: observer.outcomes == ["cancelled"])
            assert log == ["began", "cancelled"]

    runner.run(main())


@pytest.mark.parametrize("way", WAYS)
def test_other_handlers_run_to_their_end(runner: asyncio.Runner, way: str) -> None:
    app, log, release, observer = application()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/stays"))
            await until(lambda: log == ["began"])
            (exchange,) = http_of(server).exchanges
            WAYS[way](client)
            await until(lambda: exchange.connection.is_disconnected)
            release.set()
            await until(lambda: observer.outcomes == ["ok"])
            assert log == ["began", "ended"]

    runner.run(main())


def test_a_client_that_stays_is_answered_and_may_leave_then(runner: asyncio.Runner) -> None:
    app, log, release, observer = application()
    release.set()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            for _ in range(2):
                assert (await client.ask(get("/ends"))).body == b"done"
            client.writer.close()
            await until(lambda: not http_of(server).connections)
            assert (log.count("cancelled"), observer.outcomes) == (0, ["ok", "ok"])

    runner.run(main())


def test_a_handler_that_catches_the_cancellation_may_still_answer(runner: asyncio.Runner) -> None:
    app, log, _, observer = application()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/answers"))
            await until(lambda: log == ["began"])
            client.writer.write_eof()
            assert (await client.receive()).body == b"too late"
            assert observer.outcomes == ["ok"]

    runner.run(main())


def test_an_abort_is_no_response(runner: asyncio.Runner, caplog: pytest.LogCaptureFixture) -> None:
    app, log, _, observer = application()

    async def main() -> None:
        async with serving(app, access_log=True) as server:
            client = await server.connect()
            await client.send(get("/stays"))
            await until(lambda: log == ["began"])
            assert http_of(server).abort() == ["Request(GET '/stays')"]
            await until(lambda: not http_of(server).exchanges)
            assert observer.outcomes == ["cancelled"]

    with caplog.at_level(logging.INFO):
        runner.run(main())
    assert not [record for record in caplog.records if record.name == "tiny_listener.access"]
