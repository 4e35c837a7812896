"""Walls around response hooks: one that fails or never ends is its own request's business, and counted as sent."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.http.helpers import serving
from tests.http.hooks_app import application
from tests.http.walls import Counting, get, http_of, in_time, reset, until
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPError, HTTPListener, Request, Response

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


class Mine(BaseException):
    pass


FAILURES: dict[str, Any] = {
    "an exception": KeyError("x"),
    "a BaseException": Mine(),
    "SystemExit": SystemExit(),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "CancelledError": asyncio.CancelledError(),
    "GeneratorExit": GeneratorExit(),
    "StopIteration": StopIteration(),
    "HTTPError": HTTPError(403),
    "a text": "text",
    "a number": 7,
    "a status of 99": lambda response: setattr(response, "status", 99),
    "two lines": lambda response: response.headers.raw.append((b"a", b"b\r\nc: d")),
    "no fields": lambda response: setattr(response, "fields", None),
    "an object as body": lambda response: setattr(response, "body", object()),
}


@pytest.mark.parametrize("target", ["/", "/late", "/nothing", "/stream", "/file", "/fail", "/?late=1", "/file?late=1"])
@pytest.mark.parametrize("what", FAILURES)
def test_a_hook_that_fails_ends_its_response_only(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, tmp_path: Path, what: str, target: str
) -> None:
    app = application(tmp_path)
    observer: Any = Counting()
    app.attach(Host(observer=observer))
    calls = []

    @app.on_response
    async def hook(request: Request | None, response: Response) -> Any:
        assert request is not None
        if not request.query.get("fails"):
            return None
        calls.append(response.status)
        if request.query.get("late"):
            await asyncio.sleep(0)
        failure = FAILURES[what]
        if isinstance(failure, BaseException):
            raise failure
        return failure(response) if callable(failure) else failure

    async def main() -> None:
        async with serving(app) as server:
            client, other = await server.connect(), await server.connect()
            await other.send(get("/late"))
            response = await client.ask(get(f"{target}{'&' if '?' in target else '?'}fails=1"))
            assert (response.status, response.body) == (500, b"Internal Server Error\n")
            assert (await other.receive()).body == b"late"
            assert (await client.ask(get("/"))).body == b"home"
            assert len(calls) == 1
            assert not http_of(server).exchanges

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    assert len(caplog.records) == (2 if target == "/fail" else 1)
    assert observer.outcomes.count("ok") == 2


@pytest.mark.parametrize("how", ["reset", "close", "close its side", "abort", "drain"])
@pytest.mark.parametrize("target", ["/", "/late", "/nothing", "/stream", "/file"])
def test_a_hook_that_waits_without_end(runner: asyncio.Runner, tmp_path: Path, target: str, how: str) -> None:
    app = application(tmp_path)
    waits, ended = [], []

    @app.on_response
    async def hook(request: Request | None, response: Response) -> None:
        if request is not None and request.query.get("waits"):
            waits.append(request)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.append(request)

    async def main() -> None:
        async with serving(app) as server:
            client, other = await server.connect(), await server.connect()
            await client.send(get(f"{target}?waits=1"))
            await until(lambda: waits)
            assert (await other.ask(get("/"))).body == b"home"
            http = http_of(server)
            if how == "reset":
                reset(client)
            elif how == "close":
                client.writer.close()
            elif how == "close its side":
                client.writer.write_eof()
            elif how == "abort":
                http.abort()
            else:
                http.drain()
                drained = asyncio.ensure_future(http.wait_drained())
                await asyncio.sleep(0)
                assert not drained.done()
                http.abort()
                await in_time(drained)
            await until(lambda: ended, how)
            await until(lambda: not http.exchanges)
            if how in ("reset", "close", "close its side"):
                assert (await other.ask(get("/"))).body == b"home"

    runner.run(main())


def test_what_is_counted_and_logged_is_what_was_sent(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    app = application(tmp_path)
    counted = []

    class Statuses(Counting):
        def http_response(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
            counted.append(status)

        http_unrouted = http_response

    observer: Any = Statuses()
    app.attach(Host(observer=observer))

    @app.on_response
    async def hook(request: Request | None, response: Response) -> None:
        response.status += 7

    async def main() -> None:
        async with serving(app, access_log=True) as server:
            for target in ("/", "/late", "/nothing", "/stream", "/fail"):
                await server.get(target)

    with caplog.at_level(logging.INFO, "tiny_listener.access"):
        runner.run(main())
    expected = [207, 207, 411, 207, 507]
    assert counted == expected
    assert [record.status for record in caplog.records if record.name.endswith("access")] == expected  # type: ignore[attr-defined]


def test_no_descriptor_stays_open_for_a_file_that_a_hook_replaces(runner: asyncio.Runner, tmp_path: Path) -> None:
    app = application(tmp_path)

    @app.on_response
    async def hook(request: Request | None, response: Response) -> Response:
        if request is not None and request.query.get("fails"):
            raise KeyError
        return Response("other")

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            assert (await client.ask(get("/file"))).body == b"other"
            before = len(list(Path("/proc/self/fd").iterdir()))
            for _ in range(5):
                assert (await client.ask(get("/file"))).body == b"other"
                assert (await client.ask(get("/file?fails=1"))).status == 500
            await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)

    runner.run(main())


@pytest.mark.parametrize("last", ["", "Connection: close\r\n"])
def test_pipelined_requests_are_answered_in_order_whatever_their_hooks_do(runner: asyncio.Runner, last: str) -> None:
    app = HTTPListener()

    @app.get("/{number}")
    async def number(request: Request) -> str:
        return request.path[1:]

    @app.on_response
    async def hook(request: Request | None, response: Response) -> None:
        assert request is not None
        which = int(request.path[1:])
        for _ in range(which % 3):
            await asyncio.sleep(0)
        if which % 7 == 6:
            raise KeyError(which)

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(b"".join(get(f"/{which}", fields=last if which == 99 else "") for which in range(100)))
            for which in range(100):
                response = await client.receive()
                expected = (500, b"Internal Server Error\n") if which % 7 == 6 else (200, str(which).encode())
                assert (response.status, response.body) == expected
            if last:
                assert await client.is_closed()

    runner.run(main())
