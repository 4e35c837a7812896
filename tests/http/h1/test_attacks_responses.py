"""Attacks on what is written: framing, bodies, and the two paths of a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.http.helpers import serving
from tests.http.memory import MemoryTransport
from tests.http.walls import Counting, get, in_time, until
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPError, HTTPListener, Request, Response, forwarded
from tiny_listener.http.body.files import _date
from tiny_listener.http.forwarded import Proxies
from tiny_listener.http.h1.server import HTTPServer
from tiny_listener.http.response import DeferredResponse


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
    response.headers += headers  # type: ignore[operator]
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
