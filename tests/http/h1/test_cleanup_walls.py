"""Dependencies are cleaned up and requests end, at the worst moments of a cancellation or a disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.http.helpers import serving
from tests.http.walls import get, http_of, in_time, reset, until
from tiny_listener import Depends
from tiny_listener.http import HTTPListener, Request, Response


def application(log: list[str], *, hooks: bool) -> HTTPListener:
    app = HTTPListener()

    async def session() -> AsyncIterator[None]:
        log.append("open")
        try:
            yield
        finally:
            await asyncio.sleep(0.001)
            log.append("closed")

    @app.get("/cancels-itself")
    async def cancels_itself(_session: None = Depends(session)) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done"

    @app.get("/waits")
    async def waits(_session: None = Depends(session)) -> str:
        await asyncio.sleep(0.02)
        return "done"

    if hooks:

        @app.on_response
        async def respond(request: Request | None, response: Response) -> None:
            response.headers["x-seen"] = "yes"

    return app


@pytest.mark.parametrize("hooks", [False, True])
def test_a_handler_that_cancels_itself_last_is_cleaned_up(runner: asyncio.Runner, *, hooks: bool) -> None:
    async def main() -> None:
        log: list[str] = []
        async with serving(application(log, hooks=hooks)) as server:
            for _ in range(5):  # the first runs at once, in a task of the pool, the others perhaps not
                response = await in_time(server.get("/cancels-itself"))
                assert (response.status, response.body) == (200, b"done")
                await until(lambda: log == ["open", "closed"], "the dependency is cleaned up")
                log.clear()

    runner.run(main())


@pytest.mark.parametrize("hooks", [False, True])
@pytest.mark.parametrize("delay", [0, 0.005, 0.04])
def test_a_request_ends_whose_client_resets(runner: asyncio.Runner, delay: float, *, hooks: bool) -> None:
    async def main() -> None:
        log: list[str] = []
        async with serving(application(log, hooks=hooks)) as server:
            for _ in range(5):
                client = await server.connect()
                client.writer.write(get("/waits"))
                await until(lambda: log)
                await asyncio.sleep(delay)
                reset(client)
                await until(lambda: not http_of(server).exchanges, "the request has ended")
                assert log == ["open", "closed"]
                log.clear()

    runner.run(main())
