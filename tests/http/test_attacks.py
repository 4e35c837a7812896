"""Attacks on the walls between connections, on the end of each request, and on what is written."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import time
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.http.helpers import Client, Serving, serving
from tests.http.memory import MemoryTransport
from tests.http.test_walls import Counting, get, reset, until
from tiny_listener import Event, Param
from tiny_listener.host import Host
from tiny_listener.http import FileResponse, HTTPError, HTTPListener, Request, Response, StreamingResponse, forwarded
from tiny_listener.http.files import _date
from tiny_listener.http.forwarded import Proxies
from tiny_listener.http.response import DeferredResponse
from tiny_listener.http.server import HTTPServer
from tiny_listener.http.timeouts import WriteProgress

variable: contextvars.ContextVar[str] = contextvars.ContextVar("attacked", default="")
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")


def http_of(server: Serving) -> HTTPServer:
    assert server.app.server is not None
    return server.app.server


async def in_time(awaitable: Any, seconds: float = 5) -> Any:
    async with asyncio.timeout(seconds):
        return await awaitable


# --- what is logged ------------------------------------------------------------------------------


class NotesError(Exception):
    """An exception whose notes cannot be read, which the formatter of a traceback does."""

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise SystemExit(7)


class TracebackError(Exception):
    """An exception whose traceback cannot be shortened."""

    def with_traceback(self, _tb: Any) -> Any:
        raise TypeError("deliberate")


def needs_a_request(record: logging.LogRecord) -> bool:
    """Filter as many applications do: it adds what it finds in a context variable; there is none."""
    record.request_id = request_id.get()
    return True


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("kind", [NotesError, TracebackError, ValueError])
@pytest.mark.parametrize("access_log", [False, True])
def test_an_exception_that_cannot_be_logged_stays_with_its_connection(
    runner: asyncio.Runner, access_log: bool, kind: type[Exception], suspends: bool
) -> None:
    """Whatever a log handler, a filter or an exception of the application's does when it is logged."""
    app = HTTPListener(access_log=access_log)
    observer = Counting()
    app.attach(Host(observer=observer))
    logger = logging.getLogger("tiny_listener")

    @app.get("/raise")
    async def fails() -> str:
        if suspends:
            await asyncio.sleep(0)
        raise kind("deliberate")

    @app.get("/")
    async def home() -> str:
        return "home"

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        await until(lambda: server.pool.idle)
        first, second = MemoryTransport(server), MemoryTransport(server)
        await first.feed(get("/raise"))
        await second.feed(get("/"))
        await until(lambda: second.written)
        await until(lambda: first.written or first.is_lost, "the request that failed has an end")
        assert not server.exchanges
        await until(lambda: len(observer.outcomes) == 2, "both are counted")
        server.abort()

    raised: list[str] = []
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        handler = logging.StreamHandler(nowhere)
        if kind is ValueError:
            handler.addFilter(needs_a_request)
        logger.addHandler(handler)
        level, propagate = logger.level, logger.propagate
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            runner.run(in_time(main()))
        except BaseException as exc:
            raised.append(f"{type(exc).__name__}")  # pytest cannot write it, either
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
    assert not raised


# --- tasks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suspends", [False, True])
def test_an_attribute_of_a_task_is_not_anothers(runner: asyncio.Runner, suspends: bool) -> None:
    """Libraries that are older than contextvars keep what belongs to a request as an attribute of its task."""
    app = HTTPListener()

    @app.get("/{name}")
    async def handler(name: Param) -> str:
        task: Any = asyncio.current_task()
        before = getattr(task, "user", "nobody")
        task.user = name
        del task
        if suspends:
            await asyncio.sleep(0)
        return str(before)

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            answers = [(await client.ask(get(f"/{n}"))).body for n in range(5)]
            assert answers == [b"nobody"] * 5

    runner.run(in_time(main()))


def test_who_lists_tasks_before_the_first_request_does_not_hide_a_kept_task(runner: asyncio.Runner) -> None:
    """A monitor holds the list of all tasks while the first request comes; later a handler keeps its task."""
    app = HTTPListener()
    kept: list[Any] = []

    @app.get("/")
    async def home() -> str:
        return "home"

    @app.get("/keep")
    async def keep() -> str:
        kept.append(asyncio.current_task())
        return "kept"

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await until(lambda: http_of(server).pool.idle)
            monitor = asyncio.all_tasks()
            await client.ask(get("/"))
            monitor.clear()
            for _ in range(4):
                await client.ask(get("/keep"))
            assert len(set(map(id, kept))) == 4

    runner.run(in_time(main()))


def cancel_by_its_class() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.Task.cancel(task)


def cancel_what_it_waits_for() -> None:
    task: Any = asyncio.current_task()
    if task._fut_waiter is not None:
        task._fut_waiter.cancel()


@pytest.mark.parametrize("cancel", [cancel_by_its_class, cancel_what_it_waits_for])
def test_however_a_task_is_cancelled_no_other_request_is(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, cancel: Callable[[], None]
) -> None:
    app = HTTPListener()

    @app.get("/cancel")
    async def cancels() -> str:
        cancel()
        return "cancelled"

    @app.get("/wait")
    async def waits() -> str:
        await asyncio.sleep(0)
        return "waited"

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        await until(lambda: server.pool.idle)
        first, second = MemoryTransport(server), MemoryTransport(server)
        await first.feed(get("/cancel"))
        await second.feed(get("/wait"))
        await until(lambda: first.written and second.written)
        assert second.written.endswith(b"waited")
        server.abort()

    runner.run(in_time(main()))
    assert not caplog.records


@pytest.mark.parametrize("suspends", [False, True])
def test_what_a_task_shows_of_itself_is_of_its_own_request(runner: asyncio.Runner, suspends: bool) -> None:
    """Its coroutine, by which some tell tasks apart; and its context (Python 3.12 and later)."""
    app = HTTPListener()
    coroutines: list[Any] = []

    @app.get("/{name}")
    async def handler(name: Param) -> str:
        if suspends:
            await asyncio.sleep(0)
        task: Any = asyncio.current_task()
        coroutines.append(task.get_coro())
        if not hasattr(task, "get_context"):
            return str(name)
        before = task.get_context().get(variable) or ""
        variable.set(name)
        return str(before + (task.get_context().get(variable) or "nobody"))

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            assert [(await client.ask(get(f"/{n}"))).body for n in range(4)] == [b"0", b"1", b"2", b"3"]
            assert len(set(map(id, coroutines))) == 4

    runner.run(in_time(main()))


# --- context variables ---------------------------------------------------------------------------


class User:
    """Who asks: it is found by injection, and kept for libraries that look it up themselves."""

    before = ""

    @classmethod
    def from_event(cls, event: Event) -> User:
        user = cls()
        user.before = variable.get()
        variable.set(event.params["name"])
        return user


@pytest.mark.parametrize("hooks", [False, True])
def test_what_an_argument_sets_is_the_handlers_and_nobody_elses(runner: asyncio.Runner, hooks: bool) -> None:
    app = HTTPListener()
    if hooks:

        @app.before_event
        async def nothing() -> None: ...

    @app.get("/{name}")
    async def handler(name: Param, user: User) -> str:
        return f"{user.before or 'nobody'} {variable.get() or 'nobody'}"

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        ends = [MemoryTransport(server) for _ in range(3)]
        for number, end in enumerate(ends):
            await end.feed(get(f"/{number}"))
        await until(lambda: all(end.written for end in ends))
        bodies = [bytes(end.written).partition(b"\r\n\r\n")[2] for end in ends]
        assert bodies == [b"nobody 0", b"nobody 1", b"nobody 2"]
        server.abort()

    runner.run(in_time(main()))


def test_a_log_line_is_written_in_no_other_requests_context(runner: asyncio.Runner) -> None:
    """A handler that takes its body lets the server read on; what is read then is of all connections."""
    app = HTTPListener(access_log=True)
    seen: list[tuple[str, str]] = []
    release = asyncio.Event()

    @app.post("/body")
    async def takes(request: Request) -> str:
        variable.set("the one with the body")
        async for _ in request.stream():
            pass
        await release.wait()
        return "done"

    @app.get("/")
    async def home() -> str:
        return "home"

    def look(record: logging.LogRecord) -> bool:
        seen.append((record.getMessage(), variable.get()))
        return True

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        await until(lambda: server.pool.idle)
        first, second = MemoryTransport(server), MemoryTransport(server)
        head = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        await first.feed(head + b"49000\r\n" + b"x" * 0x49000 + b"\r\n" + b"1\r\nx\r\n" * 3000)
        await until(lambda: server._reading_on and server._will_work)
        await second.feed(get("/"))
        await until(lambda: second.written)
        release.set()
        server.abort()

    logger = logging.getLogger("tiny_listener.access")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addFilter(look)
    try:
        runner.run(in_time(main()))
    finally:
        logger.removeFilter(look)
        logger.setLevel(level)
    assert {value for line, value in seen if '"GET / ' in line} == {""}


class NamedError(HTTPError):
    """An error whose response names the request, as its hooks did."""

    def response(self) -> Response:
        return Response(f"request {variable.get()}", self.status)


@pytest.mark.parametrize("late", [False, True])
def test_a_response_that_is_raised_is_made_in_the_context_of_its_request(runner: asyncio.Runner, late: bool) -> None:
    app = HTTPListener()

    @app.get("/{name}")
    async def handler(name: Param) -> str:
        variable.set(name)
        if late:
            await asyncio.sleep(0)
        raise NamedError(404)

    async def main() -> None:
        async with serving(app) as server:
            assert (await server.get("/one")).body == b"request one"

    runner.run(in_time(main()))


# --- what is written -----------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["Content-Length: 4", "Transfer-Encoding: chunked"])
def test_no_100_continue_is_written_within_a_response(runner: asyncio.Runner, framing: str) -> None:
    """A stream that reads the body of its request, which the client holds back until it is asked for."""
    app = HTTPListener()

    @app.post("/")
    async def echo(request: Request) -> AsyncIterator[bytes]:
        yield b"begin "
        async for piece in request.stream():
            yield piece

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(f"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{framing}\r\n\r\n".encode())
            head = await client.reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 100"):
                head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await client.send(b"body" if "Length" in framing else b"4\r\nbody\r\n0\r\n\r\n")
            rest = b""
            while piece := await client.reader.read(4096):
                rest += piece
            assert b"100 Continue" not in rest

    runner.run(in_time(main()))


class Short(bytes):
    def __len__(self) -> int:
        return 3


class ShortText(str):
    def encode(self, *_: Any) -> bytes:
        return Short(b"a longer text")


def changed(*headers: tuple[bytes, bytes]) -> Response:
    response = Response("fine")
    response.headers += headers
    return response


AMBIGUOUS: dict[str, Callable[[], Any]] = {
    "bytes that lie about their length": lambda: Short(b"a longer text"),
    "a text whose bytes lie": lambda: ShortText("x"),
    "a response with such bytes": lambda: Response(Short(b"a longer text")),
    "a name with a blank": lambda: changed((b"Content-Length ", b"1")),
    "a name with a tab": lambda: changed((b"Transfer-Encoding\t", b"chunked")),
    "a name with a colon": lambda: changed((b"Content-Length: 1;", b"")),
    "no name": lambda: changed((b"", b"x")),
    "a name that is folded": lambda: changed((b" x", b"y")),
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("what", AMBIGUOUS)
def test_the_end_of_a_response_is_where_its_head_says(runner: asyncio.Runner, what: str, late: bool) -> None:
    app = HTTPListener()

    @app.get("/")
    async def handler() -> Any:
        if late:
            await asyncio.sleep(0)
        return AMBIGUOUS[what]()

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        end = MemoryTransport(server)
        await end.feed(get("/", fields="Connection: close\r\n"))
        await until(lambda: end.is_lost)
        head, _, body = bytes(end.written).partition(b"\r\n\r\n")
        names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
        assert all(name and name.strip() == name for name in names), head
        assert len(set(map(bytes.lower, names))) == len(names), head
        (length,) = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        assert length == len(body), (head, body)
        server.abort()

    runner.run(in_time(main()))


class Sized(AsyncIterator[Any]):
    """A stream as another library's: its length means what that library wants."""

    def __init__(self, piece: Any, *lengths: Any) -> None:
        self._left = [piece, piece]
        self._lengths = list(lengths)

    @property
    def length(self) -> Any:
        return self._lengths.pop(0) if len(self._lengths) > 1 else self._lengths[0]

    async def __anext__(self) -> Any:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


STREAMS: dict[str, Callable[[], Any]] = {
    "unknown": lambda: Sized(b"abc", -1),
    "a truth": lambda: Sized(b"abc", bool(1)),
    "a fraction": lambda: Sized(b"abc", 6.7),
    "a text": lambda: Sized(b"abc", "6"),
    "now this, now that": lambda: Sized(b"abc", None, 6, None, 6),
    "now that, now this": lambda: Sized(b"abc", 6, None, 6, None),
    "bytes that lie": lambda: Sized(Short(b"a longer text"), None),
    "a text whose bytes lie": lambda: Sized(ShortText("x"), None),
}


@pytest.mark.parametrize("what", STREAMS)
def test_the_end_of_a_stream_is_where_its_framing_says(runner: asyncio.Runner, what: str) -> None:
    """A response behind it is found where a client looks for it; or the stream is none, and ends the connection."""
    app = HTTPListener()

    @app.get("/stream")
    async def handler() -> Any:
        return STREAMS[what]()

    @app.get("/")
    async def home() -> str:
        return "home"

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/stream") + get("/"))
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert b"length: -" not in head
            assert b"length: 1\r" not in head
            client.reader._buffer[:0] = head  # type: ignore[attr-defined]
            try:
                await client.receive()
                assert (await client.receive()).body == b"home"
            except (asyncio.IncompleteReadError, ConnectionError):
                assert await client.is_closed()

    runner.run(in_time(main()))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("value", [None, "text", {"a": 1}, 5])
def test_an_error_whose_response_is_none_is_a_500(runner: asyncio.Runner, value: Any, late: bool) -> None:
    app = HTTPListener()

    class OwnError(HTTPError):
        def response(self) -> Any:
            return value

    @app.get("/")
    async def handler() -> str:
        if late:
            await asyncio.sleep(0)
        raise OwnError(404)

    async def main() -> None:
        async with serving(app) as server:
            assert (await server.get("/")).status == 500

    runner.run(in_time(main()))


def test_a_stream_that_never_waits_leaves_the_loop_to_others(runner: asyncio.Runner) -> None:
    """`for row in rows: yield row`: no more than some hundred pieces are taken between two iterations of the loop."""
    app = HTTPListener()
    pieces = 0
    worst = 0

    @app.get("/")
    async def stream() -> AsyncIterator[str]:
        nonlocal pieces
        for _ in range(20_000):
            pieces += 1
            yield "a piece\n"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        last = 0

        def tick() -> None:
            nonlocal last, worst
            worst, last = max(worst, pieces - last), pieces
            if pieces < 20_000:
                loop.call_soon(tick)

        async with serving(app) as server:
            tick()
            assert len((await server.get("/")).body) == 160_000

    runner.run(main())
    assert worst <= 1024


def test_a_stream_whose_close_hangs_ends_with_its_last_byte(runner: asyncio.Runner) -> None:
    app = HTTPListener()

    class Hanging(Sized):
        async def aclose(self) -> None:
            await asyncio.Event().wait()

    @app.get("/stream")
    async def stream() -> Response:
        return Response(Hanging(b"abc", None))

    @app.get("/")
    async def home() -> str:
        return "home"

    async def main() -> None:
        async with serving(app, limit_concurrency=1) as server:
            client = await server.connect()
            assert (await client.ask(get("/stream"))).body == b"abcabc"
            assert (await client.ask(get("/"))).body == b"home"

    runner.run(in_time(main()))


def test_a_cancellation_that_comes_too_late_harms_no_next_request(runner: asyncio.Runner) -> None:
    """What prepares a response cancels itself, and returns one all the same."""
    app = HTTPListener()
    release = asyncio.Event()

    class Own(DeferredResponse):
        async def prepare(self, request: Request) -> Response:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return Response("prepared")

    @app.get("/prepared")
    async def prepared() -> Response:
        return Own()

    @app.get("/")
    async def home() -> str:
        await release.wait()
        return "home"

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/prepared") + get("/"))
            first = await client.receive()
            assert first.status == 500 or first.body == b"prepared"
            release.set()
            assert (await client.receive()).body == b"home"

    runner.run(in_time(main()))


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize(
    "date", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_a_date_is_of_the_same_time_in_each_zone(monkeypatch: pytest.MonkeyPatch, date: str, zone: str) -> None:
    """RFC 9110 section 5.6.7: all three forms must be taken, and all are in UTC."""
    try:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert _date(date) == 784111777
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("kind", "field", "element"),
    [
        ("x-forwarded", b"x-forwarded-for", b"::1"),
        ("x-forwarded", b"x-forwarded-for", b"10.0.0.1"),
        ("forwarded", b"forwarded", b'for="[::1]"'),
    ],
)
def test_the_walk_through_proxies_is_bounded(
    monkeypatch: pytest.MonkeyPatch, kind: Any, field: bytes, element: bytes
) -> None:
    looked_at = 0

    def count(text: str) -> Any:
        nonlocal looked_at
        looked_at += 1
        return original(text)

    original = forwarded._client
    monkeypatch.setattr(forwarded, "_client", count)
    fields = [(field, b",".join([element] * 700)) for _ in range(7)]
    Proxies(kind, "*").origin(("127.0.0.1", 1), "http", fields)
    assert looked_at <= 100


# --- bodies --------------------------------------------------------------------------------------


def test_a_body_may_be_read_by_two_at_once(runner: asyncio.Runner) -> None:
    """Two who ask for the body at once get all of it, in whatever packets it comes."""
    app = HTTPListener()

    @app.post("/")
    async def handler(request: Request) -> list[str]:
        return [text.decode() for text in await asyncio.gather(request.body(), request.body(), request.body())]

    async def main() -> None:
        async with serving(app) as server:
            for pieces in ([b"whole"], [b"who", b"le"]):
                client = await server.connect()
                await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n" + pieces[0])
                for piece in pieces[1:]:
                    await until(lambda: bool(http_of(server).exchanges))
                    await client.send(piece)
                assert (await client.receive()).body == b'["whole","whole","whole"]'

    runner.run(in_time(main()))


def test_a_body_whose_reading_was_cancelled_is_not_read_in_part(runner: asyncio.Runner) -> None:
    """A hook gives up waiting for the body; who asks for it later gets all of it, or is told why not."""
    app = HTTPListener()
    waits = asyncio.Event()

    @app.post("/")
    async def handler(request: Request) -> bytes:
        reading = asyncio.ensure_future(request.body())
        await until(lambda: request.arriving is not None and not request.arriving.buffered)
        reading.cancel()
        await asyncio.wait([reading])
        waits.set()
        return await request.body()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst")
            await waits.wait()
            await client.send(b"+last")
            response = await client.receive()
            assert (response.status, response.body) == (200, b"first+last") or response.status == 500

    runner.run(in_time(main()))


# --- clients that are gone -----------------------------------------------------------------------


async def endless_pieces(log: list[str]) -> AsyncIterator[str]:
    try:
        yield "first"
        await asyncio.Event().wait()
    finally:
        log.append("closed")


def endless() -> tuple[HTTPListener, list[str]]:
    app = HTTPListener()
    log: list[str] = []

    @app.get("/stream")
    async def stream() -> Response:
        return Response(endless_pieces(log))

    @app.post("/stream")
    async def posted() -> Response:
        return Response(endless_pieces(log))

    @app.get("/later")
    async def later() -> Response:
        await asyncio.sleep(0)
        return Response(endless_pieces(log))

    @app.get("/disconnected")
    async def disconnected(request: Request) -> str:
        await request.disconnected()
        log.append("closed")
        return "gone"

    @app.get("/")
    async def home() -> str:
        return "home"

    return app, log


BEHIND = {
    "many requests": b"".join([get("/")] * 60),
    "much": get("/") * 3000,
    "a body": b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"x" * 600_000,
}


@pytest.mark.parametrize("leave", ["reset", "close"])
@pytest.mark.parametrize("target", ["/stream", "/disconnected"])
@pytest.mark.parametrize("behind", BEHIND)
def test_a_client_that_is_gone_is_noticed_whatever_it_sent_before(
    runner: asyncio.Runner, behind: str, target: str, leave: str
) -> None:
    """What waits behind a stream pauses reading; and who does not read does not see that the client is gone."""
    app, log = endless()

    async def main() -> None:
        async with serving(app, keep_alive_timeout=0.2) as server:
            http = http_of(server)
            client = await server.connect()
            first = b"" if behind == "a body" and target == "/stream" else get(target)
            await client.send(first + BEHIND[behind])
            await until(lambda: len(http.exchanges) == 1)
            if target == "/stream":
                await client.reader.readuntil(b"first")
            await until(lambda: all(connection.intake.is_paused for connection in http.connections))
            if leave == "reset":
                reset(client)
            else:
                client.writer.close()
            await until(lambda: "closed" in log)
            await until(lambda: not http.exchanges and not http.connections)

    runner.run(main())


@pytest.mark.parametrize("target", ["/stream", "/later"])
def test_a_client_that_closed_its_side_before_a_stream_began_is_watched(runner: asyncio.Runner, target: str) -> None:
    app, log = endless()

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            client = await server.connect()
            await client.send(get(target))
            client.writer.write_eof()
            await client.reader.readuntil(b"first")
            client.writer.close()
            await until(lambda: "closed" in log)
            await until(lambda: not http.exchanges and not http.connections)

    runner.run(main())


def test_each_stream_of_a_client_that_closed_its_side_is_watched(runner: asyncio.Runner) -> None:
    """The first of two ends by itself; the second waits, with a handler between them that waits a little."""
    app, log = endless()

    @app.get("/short")
    async def short() -> AsyncIterator[str]:
        yield "short"
        await asyncio.sleep(0)

    @app.get("/much-later")
    async def much_later() -> Response:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 0.7:  # longer than a stream may wait
            await asyncio.sleep(0.01)
        return Response(endless_pieces(log))

    async def main() -> None:
        async with serving(app) as server:
            http = http_of(server)
            client = await server.connect()
            await client.send(get("/short") + get("/much-later"))
            client.writer.write_eof()
            await client.reader.readuntil(b"first")
            client.writer.close()
            await until(lambda: "closed" in log)
            await until(lambda: not http.exchanges and not http.connections)

    runner.run(main())


def test_a_client_that_closed_its_side_gets_what_takes_a_while_to_prepare(runner: asyncio.Runner) -> None:
    """No stream waits there, and no piece: a handler may take as long."""
    app = HTTPListener()
    started: list[float] = []

    class Slow(DeferredResponse):
        async def prepare(self, request: Request) -> Response:
            loop = asyncio.get_running_loop()
            started.append(loop.time())
            while loop.time() - started[0] < 1.0:
                await asyncio.sleep(0.01)
            return Response("prepared")

    @app.get("/")
    async def handler() -> Response:
        return Slow()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/"))
            client.writer.write_eof()
            assert (await client.receive()).body == b"prepared"

    runner.run(main())


def test_a_client_that_closes_its_side_gets_the_whole_of_a_large_file(runner: asyncio.Runner, tmp_path: Path) -> None:
    """The kernel sends it: each piece that it takes is progress."""
    path = tmp_path / "large"
    size = 3_000_000_000
    with path.open("wb") as file:
        file.truncate(size)
    app = HTTPListener()

    @app.get("/")
    async def file_of() -> FileResponse:
        return FileResponse(path)

    async def read(client: Client) -> int:
        await client.reader.readuntil(b"\r\n\r\n")
        got = 0
        while piece := await client.reader.read(1 << 20):
            got += len(piece)
        return got

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/"))
            client.writer.write_eof()
            assert await read(client) == size

    runner.run(main())


@pytest.mark.parametrize("unsent", [0, 1, 100])
def test_a_blocked_client_has_no_more_time_however_often_it_is_looked_at(unsent: int) -> None:
    """Nothing is unsent, and the client takes nothing, while the kernel sends a file."""
    progress = WriteProgress(0.0)
    for second in range(100):
        assert progress.look(unsent, float(second), is_blocked=True) == float(second)


def test_a_client_that_takes_nothing_of_a_large_file(runner: asyncio.Runner, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    app = HTTPListener()

    @app.get("/")
    async def file_of() -> FileResponse:
        return FileResponse(path)

    async def main() -> None:
        async with serving(app, write_timeout=0.2) as server:
            client = await server.connect()
            transport: Any = client.writer.transport
            transport.pause_reading()
            await client.send(get("/"))
            await until(lambda: http_of(server).exchanges)
            await until(lambda: not http_of(server).exchanges and not http_of(server).connections)

    runner.run(main())


# --- one connection and the others -------------------------------------------------------------------


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
        request.connection.data_received(get("/next") * size)
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


# --- descriptors ---------------------------------------------------------------------------------


def test_a_file_whose_head_cannot_be_made_is_closed(runner: asyncio.Runner, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    app = HTTPListener()

    @app.get("/")
    async def file_of() -> FileResponse:
        response = FileResponse(path)
        response.headers.append((b"x", b"a\r\nb"))
        return response

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            assert (await client.ask(get("/"))).status == 500
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(20):
                assert (await client.ask(get("/"))).status == 500
            assert len(os.listdir("/proc/self/fd")) <= before

    runner.run(in_time(main(), 10))


def test_a_stream_whose_head_cannot_be_made_is_closed(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    closed: list[str] = []

    class Pieces(AsyncIterator[bytes]):
        async def __anext__(self) -> bytes:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            closed.append("closed")

    @app.get("/")
    async def handler() -> Response:
        response = StreamingResponse(Pieces())
        response.headers.append((b"x", b"a\r\nb"))
        return response

    async def main() -> None:
        async with serving(app) as server:
            assert (await server.get("/")).status == 500
            await until(lambda: closed)

    runner.run(in_time(main(), 5))


# --- the two ways --------------------------------------------------------------------------------


class BareError(HTTPError):
    def __init__(self) -> None:
        pass


class TextStatusError(HTTPError):
    def __init__(self) -> None:
        super().__init__(404)
        self.status = "404"  # type: ignore[assignment]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", [BareError, TextStatusError])
def test_an_error_that_has_no_response_is_a_500(
    runner: asyncio.Runner, kind: Callable[[], BaseException], late: bool
) -> None:
    app = HTTPListener()
    observer = Counting()
    app.attach(Host(observer=observer))

    @app.get("/")
    async def handler() -> str:
        if late:
            await asyncio.sleep(0)
        raise kind()

    async def main() -> None:
        async with serving(app) as server:
            assert (await server.get("/")).status == 500

    runner.run(in_time(main()))
    assert observer.outcomes == ["error"]
