"""One connection harms no other: whatever a client sends, and whatever a handler does."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.http.helpers import serving
from tests.http.memory import MemoryTransport
from tests.http.walls import Counting, get, http_of, reset, until, waiting_application
from tiny_listener import Depends, Param
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPListener, Request, Response, StreamingResponse
from tiny_listener.http.h1.connection import HTTPConnection
from tiny_listener.http.h1.server import HTTPServer
from tiny_listener.http.h1.states import IllegalConnectionStep, State
from tiny_listener.http.routing import Routing

HOST = b"Host: x\r\n\r\n"
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


class Patched(HTTPConnection):
    """A connection whose methods a test may replace: it has a dictionary."""


class Own(BaseException):
    """An exception that is no Exception: what pytest.fail() raises is such a one."""


KINDS: dict[str, Callable[[], BaseException]] = {
    "own": lambda: Own("own"),
    "GeneratorExit": lambda: GeneratorExit("deliberate"),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("deliberate"),
    "CancelledError": lambda: asyncio.CancelledError("deliberate"),
    "RecursionError": lambda: RecursionError("deliberate"),
    "MemoryError": lambda: MemoryError("deliberate"),
    "StopAsyncIteration": lambda: StopAsyncIteration("deliberate"),
    "group": lambda: BaseExceptionGroup("deliberate", [Own("own")]),
}


def application() -> HTTPListener:  # noqa: C901 - many small handlers
    app = HTTPListener()

    async def dependency(request: Request) -> None:
        if kind := request.header("x-dependency"):
            raise KINDS[kind]()

    @app.before_event
    async def before(request: Request) -> None:
        if kind := request.header("x-before"):
            raise KINDS[kind]()

    @app.after_event
    async def after(request: Request) -> None:
        if kind := request.header("x-after"):
            raise KINDS[kind]()

    @app.on_error(LookupError)
    async def on_error(request: Request) -> None:
        raise KINDS[request.header("x-on-error") or ""]()

    @app.get("/hello/{name}")
    async def hello(name: Param, _: None = Depends(dependency)) -> str:
        return f"Hello, {name}!"

    @app.get("/raise/{kind}")
    async def raise_at_once(kind: Param) -> str:
        raise KINDS[kind]()

    @app.get("/raise-late/{kind}")
    async def raise_late(kind: Param) -> str:
        await asyncio.sleep(0)
        raise KINDS[kind]()

    @app.get("/lookup")
    async def lookup() -> str:
        raise LookupError

    @app.get("/stream/{kind}")
    async def stream(kind: Param) -> AsyncIterator[str]:
        yield "one"
        await asyncio.sleep(0)
        raise KINDS[kind]()

    @app.get("/sized/{kind}")
    async def sized(kind: Param) -> StreamingResponse:
        async def pieces() -> AsyncIterator[str]:
            yield "one"
            raise KINDS[kind]()

        return StreamingResponse(pieces(), length=400)

    return app


REQUESTS = {
    "handler": lambda kind: get(f"/raise/{kind}"),
    "handler, late": lambda kind: get(f"/raise-late/{kind}"),
    "hook before": lambda kind: get("/hello/x", fields=f"X-Before: {kind}\r\n"),
    "hook after": lambda kind: get("/hello/x", fields=f"X-After: {kind}\r\n"),
    "dependency": lambda kind: get("/hello/x", fields=f"X-Dependency: {kind}\r\n"),
    "error handler": lambda kind: get("/lookup", fields=f"X-On-Error: {kind}\r\n"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", REQUESTS)
def test_an_exception_stays_with_its_connection(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, where: str, kind: str
) -> None:
    """It is a 500, logged once with the route, and counted; others of the same loop iteration have their answers."""
    app = application()
    observer = Counting()
    app.attach(Host(observer=observer))

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        transports = [MemoryTransport(server) for _ in range(5)]
        for transport in transports:  # from now on there are tasks in whose name handlers run at once
            await transport.feed(get("/hello/first"))
        await until(lambda: all(transport.written for transport in transports))
        observer.outcomes.clear()
        for number, transport in enumerate(transports):
            transport.written.clear()
            await transport.feed(REQUESTS[where](kind) if number == 2 else get(f"/hello/{number}"))
        await until(lambda: all(transport.written for transport in transports))
        for number, transport in enumerate(transports):
            answer = bytes(transport.written)
            if number == 2:
                assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
            else:
                assert answer.endswith(f"Hello, {number}!".encode())
            transport.written.clear()
            await transport.feed(get("/hello/again"))
        await until(lambda: all(transport.written.endswith(b"Hello, again!") for transport in transports))
        assert server.exchanges == set()
        assert sorted(observer.outcomes) == sorted(["cancelled" if kind == "CancelledError" else "error"] + ["ok"] * 9)
        for transport in transports:
            await transport.end()
        server.abort()

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    *before, record = caplog.records
    assert "failed in" in record.getMessage()
    assert record.exc_info is not None
    if where == "error handler" and kind not in (
        "CancelledError",
        "GeneratorExit",
    ):  # its own failure does not hide the first one
        assert [one.getMessage().partition(" (")[0] for one in before] == ["The error handler on_error"]
        assert isinstance(record.exc_info[1], LookupError)
    else:
        assert not before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["stream", "sized"])
def test_nothing_is_written_after_a_body_that_is_incomplete(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, target: str, kind: str
) -> None:
    app = application()
    observer = Counting()
    app.attach(Host(observer=observer))

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        transport, innocent = MemoryTransport(server), MemoryTransport(server)
        await transport.feed(get(f"/{target}/{kind}") + get("/hello/other"))
        await innocent.feed(get("/hello/innocent"))
        await until(lambda: transport.is_lost)
        head, _, body = bytes(transport.written).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert body in (b"3\r\none\r\n", b"one", b"")
        await until(lambda: innocent.written.endswith(b"innocent!"))
        assert not server.exchanges
        await innocent.end()
        server.abort()

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    (record,) = caplog.records
    assert f"'GET:/{target}/{{kind}}' failed in" in record.getMessage()
    assert sorted(observer.outcomes) == ["error", "ok"]


def test_a_stream_whose_head_cannot_be_made_is_a_500(runner: asyncio.Runner, caplog: pytest.LogCaptureFixture) -> None:
    app = HTTPListener()

    async def pieces() -> AsyncIterator[str]:
        yield "one"

    @app.get("/{what}")
    async def change(what: Param) -> Response:
        response = Response(pieces())
        setattr(response, what, {"fields": [("a", "b")], "status": "200", "headers": 7}[what])
        return response

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            for what in ("fields", "status", "headers"):
                assert (await client.ask(get(f"/{what}"))).status == 500
            assert (await client.ask(get("/a/b"))).status == 404

    with caplog.at_level(logging.ERROR):
        runner.run(main())
    assert len(caplog.records) == 3


def test_a_client_that_resets_before_its_stream_begins(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    app, release = waiting_application()

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            gone = [await server.connect() for _ in range(3)]
            innocents = [await server.connect() for _ in range(4)]
            for client in gone:
                await client.send(get("/stream"))
            for client in innocents:
                await client.send(get("/wait"))
            await until(lambda: len(http.exchanges) == 7)
            for client in gone:
                reset(client)
            await until(lambda: len(http.connections) == 4)
            release.set()
            for client in innocents:
                assert (await client.receive()).body == b"woken"
                assert (await client.ask(get("/"))).body == b"home"
            await until(lambda: not http.exchanges)

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    assert not caplog.records


def test_a_transport_that_refuses_bytes_concerns_its_connection_alone(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    app = application()

    async def main() -> None:
        app.attach(Host())
        server = HTTPServer(app, app.settings)
        transports = [MemoryTransport(server) for _ in range(4)]

        def refuse(data: Any) -> None:
            raise RuntimeError("the handle is broken")

        transports[1].write = refuse  # type: ignore[method-assign]
        for transport in transports:
            await transport.feed(get("/hello/x"))
        await until(lambda: transports[1].is_lost)
        for transport in (transports[0], *transports[2:]):
            await until(lambda t=transport: t.written.endswith(b"x!"))  # type: ignore[misc]
            await transport.end()
        assert not server.connections
        server.abort()

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    (record,) = caplog.records
    assert "it is closed" in record.getMessage()


def test_a_check_that_fails_concerns_its_connection_alone(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A sweep goes on with the others, and another follows."""
    app = application()
    app.configure(keep_alive_timeout=0.2)

    async def main() -> None:
        app.attach(Host())
        server = HTTPServer(app, app.settings)
        transports = [MemoryTransport(server) for _ in range(3)]

        def fail() -> int:
            raise Own

        transports[0].get_write_buffer_size = fail  # type: ignore[method-assign]
        for transport in transports:
            await until(lambda t=transport: t.is_lost)  # type: ignore[misc]
        server.abort()

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    assert len(caplog.records) == 1


def test_context_variables_of_one_request_are_not_anothers(runner: asyncio.Runner) -> None:
    """A handler that takes its body resumes reading, and may so set off the reading of others."""
    app = HTTPListener()
    seen: list[str] = []

    @app.post("/upload")
    async def upload(request: Request) -> str:
        variable.set("mine")
        size = 0
        async for piece in request.stream():
            size += len(piece)
            await asyncio.sleep(0)
        return str(size)

    @app.get("/look")
    async def look() -> str:
        seen.append(variable.get())
        return variable.get()

    async def main() -> None:
        async with serving(app) as server:
            uploading, looking = await server.connect(), await server.connect()
            size = 3 * 1024 * 1024
            uploading.writer.write(b"POST /upload HTTP/1.1\r\nContent-Length: %d\r\n" % size + HOST + b"x" * size)
            for _ in range(50):
                assert (await looking.ask(get("/look"))).body == b""
            assert (await uploading.receive()).body == str(size).encode()
            assert (await uploading.ask(get("/look"))).body == b""
        assert set(seen) == {""}

    runner.run(main())


def test_a_route_that_cannot_be_found_for_a_fault_of_a_convertors(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application()

    async def main() -> None:
        app.attach(Host())
        real = Routing.find_event

        def find_event(self: Routing, request: Request) -> Any:
            if request.target == "/broken":
                raise Own
            return real(self, request)

        monkeypatch.setattr(Routing, "find_event", find_event)
        server = HTTPServer(app, app.settings)
        broken, innocent = MemoryTransport(server), MemoryTransport(server)
        await broken.feed(get("/broken") + get("/hello/next"))
        await innocent.feed(get("/hello/innocent"))
        await until(lambda: innocent.written.endswith(b"innocent!") and broken.written.endswith(b"next!"))
        assert broken.written.startswith(b"HTTP/1.1 500 ")
        await broken.end()
        await innocent.end()
        server.abort()

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    assert len(caplog.records) == 1


def test_an_illegal_step_ends_that_connection_alone(runner: asyncio.Runner, caplog: pytest.LogCaptureFixture) -> None:
    app = application()

    async def main() -> None:
        app.attach(Host())
        server = HTTPServer(app, app.settings)
        broken, innocent = MemoryTransport(server), MemoryTransport(server)
        (connection,) = [c for c in server.connections if c.transport is broken]
        connection.state = State.STREAMING  # which no request is behind
        with pytest.raises(IllegalConnectionStep, match="streaming cannot become streaming"):
            connection.step(State.STREAMING)
        connection.state = State.CLOSING
        connection.pipeline.takes_more = True
        connection.settle = lambda: connection.step(State.HANDLING)  # type: ignore[method-assign]
        await broken.feed(b"GET / HT")
        await innocent.feed(get("/hello/innocent"))
        await until(lambda: broken.is_lost and innocent.written.endswith(b"innocent!"))
        await innocent.end()
        server.abort()

    with caplog.at_level(logging.WARNING), pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiny_listener.http.h1.server.HTTPConnection", Patched)
        runner.run(main())
    (record,) = caplog.records
    assert "is closed" in record.getMessage()
