"""Dependencies of requests are cleaned up in every ending, after the response, in the handler's own task."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from tests.http.helpers import serving
from tiny_listener import Depends, Event
from tiny_listener.http import HTTPError, HTTPListener, Request, Response, StreamingResponse
from tiny_listener.http.h1.server import HTTPServer

variable: ContextVar[str] = ContextVar("variable", default="")


def server_of(app: HTTPListener) -> HTTPServer:
    assert app.http.server is not None
    return app.http.server


class Log(list[str]):
    """What happened; can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def note(self, what: str) -> None:
        self.append(what)
        self._changed.set()

    async def until(self, what: str) -> None:
        while what not in self:
            self._changed.clear()
            await self._changed.wait()


def application(log: Log) -> HTTPListener:  # noqa: C901 - many small handlers
    app = HTTPListener()

    async def session() -> AsyncIterator[str]:
        task = asyncio.current_task()
        variable.set("session")
        log.note("open")
        try:
            async with asyncio.timeout(60), asyncio.TaskGroup():  # both belong to one task
                yield "s"
        except BaseException as exc:
            inner = exc.exceptions[0] if isinstance(exc, BaseExceptionGroup) else exc
            log.note(f"sees {type(inner).__name__}")
            raise
        finally:
            await asyncio.sleep(0)
            assert asyncio.current_task() is task
            assert variable.get() == "session"
            log.note("close")

    @app.get("/at-once")
    async def at_once(s: str = Depends(session)) -> str:
        return s

    @app.get("/later")
    async def later(s: str = Depends(session)) -> str:
        await asyncio.sleep(0)
        return s

    @app.get("/refused")
    async def refused(s: str = Depends(session)) -> None:
        raise HTTPError(409, "no")

    @app.get("/broken")
    async def broken(s: str = Depends(session)) -> None:
        raise ZeroDivisionError

    @app.get("/unsendable")
    async def unsendable(s: str = Depends(session)) -> Any:
        return object()

    @app.get("/timeout", timeout=0.01)
    async def timeout(s: str = Depends(session)) -> None:
        await asyncio.Event().wait()

    @app.get("/stream")
    async def stream(s: str = Depends(session)) -> AsyncIterator[str]:
        for _ in range(3):
            yield s
        log.note("streamed")

    @app.get("/endless")
    async def endless(s: str = Depends(session)) -> StreamingResponse:
        async def pieces() -> AsyncIterator[str]:
            yield "begun"
            log.note("begun")
            await asyncio.Event().wait()

        return StreamingResponse(pieces())

    @app.get("/waits")
    async def waits(s: str = Depends(session)) -> None:
        log.note("begun")
        await asyncio.Event().wait()

    @app.get("/none")
    async def nothing_opened(event: Event, denied: None = Depends(deny), s: str = Depends(session)) -> None:
        """Never called."""

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    return app


async def deny() -> None:
    raise HTTPError(401)


ENDINGS = [
    ("/at-once", 200, ["open", "close"]),
    ("/later", 200, ["open", "close"]),
    ("/refused", 409, ["open", "sees HTTPError", "close"]),
    ("/broken", 500, ["open", "sees ZeroDivisionError", "close"]),
    ("/unsendable", 500, ["open", "sees TypeError", "close"]),
    ("/timeout", 504, ["open", "sees TimeoutError", "close"]),
    ("/stream", 200, ["open", "streamed", "close"]),
    ("/none", 401, []),
]


async def hook(request: Request | None, response: Response) -> None:
    response.headers["x-hook"] = "was here"
    if response.status != 200:
        await asyncio.sleep(0)


@pytest.mark.parametrize("is_usual", [True, False])
@pytest.mark.parametrize("has_hook", [False, True])
@pytest.mark.parametrize(("path", "status", "expected"), ENDINGS)
def test_every_ending(  # noqa: PLR0917
    runner: asyncio.Runner, path: str, status: int, expected: list[str], has_hook: bool, is_usual: bool
) -> None:
    async def main() -> None:
        log = Log()
        app = application(log)
        if has_hook:
            app.on_response(hook)
        async with serving(app) as server:
            server_of(app).takes_fast_path = is_usual
            client = await server.connect()
            for number in range(3):  # the second finds a task that waits, the third comes after a cleanup
                log.clear()
                await client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                response = await client.receive()
                assert (response.status, "x-hook" in response.headers) == (status, has_hook)
                if expected:
                    await log.until("close")
                assert list(log) == expected, number
            await client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.receive()).body == b"hello"
            assert not server_of(app).exchanges

    runner.run(main())


def test_the_response_comes_before_the_cleanup(runner: asyncio.Runner) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        app = HTTPListener()
        closed: list[bool] = []

        async def slow() -> AsyncIterator[int]:
            yield 1
            await gate.wait()
            closed.append(True)

        @app.get("/slow")
        async def handler(n: int = Depends(slow)) -> int:
            return n

        @app.get("/hello")
        async def hello() -> str:
            return "hello"

        async with serving(app) as server:
            client, other = await server.connect(), await server.connect()
            await client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.receive()).body == b"1"
            assert app.lifecycle.in_progress == 1  # a drain waits for it
            assert not closed
            await other.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await other.receive()).body == b"hello"
            gate.set()
            assert (await client.receive()).body == b"hello"
            assert closed == [True]

    runner.run(main())


@pytest.mark.parametrize("path", ["/endless", "/waits"])
@pytest.mark.parametrize("how", ["disconnect", "abort"])
def test_a_client_that_leaves_and_a_server_that_stops(runner: asyncio.Runner, path: str, how: str) -> None:
    async def main() -> None:
        log = Log()
        app = application(log)
        async with serving(app) as server:
            client = await server.connect()
            await client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await log.until("begun")
            if how == "disconnect" and path == "/endless":
                client.writer.transport.abort()
            else:  # a handler is not cancelled when its client leaves, but when the graceful timeout is over
                server_of(app).abort()
            await log.until("close")
        assert list(log) == ["open", "begun", "sees CancelledError", "close"]

    runner.run(main())


def test_a_cleanup_that_fails_or_is_cut_off_harms_nobody(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        app = HTTPListener()
        begun, ended = asyncio.Event(), asyncio.Event()

        async def broken() -> AsyncIterator[int]:
            yield 1
            raise SystemExit

        async def stuck() -> AsyncIterator[int]:
            try:
                yield 1
                begun.set()
                await asyncio.Event().wait()
            finally:
                ended.set()

        @app.get("/broken")
        async def handler(n: int = Depends(broken)) -> int:
            return n

        @app.get("/stuck")
        async def other(n: int = Depends(stuck)) -> Response:
            return Response(str(n), 201)

        async with serving(app) as server:
            client = await server.connect()
            for _ in range(3):
                await client.send(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await client.receive()).body == b"1"
            await client.send(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.receive()).status == 201
            await begun.wait()
            assert server_of(app).abort() == ["Request(GET '/stuck')"]
            await ended.wait()

    with caplog.at_level(logging.ERROR), contextlib.suppress(asyncio.CancelledError):
        runner.run(main())
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 3
    assert all(text.startswith("The cleanup of the dependency broken (test_cleanup.py:") for text in texts)
