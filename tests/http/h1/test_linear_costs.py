"""Little sent, little done: what a request costs is linear in its bytes, in whatever pieces they come.

Each input is so long, or in so many pieces, that work which is quadratic in it would not end within a test's time:
200,000 pieces, each of which made all before them be looked at again, are 20,000,000,000 bytes.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.http.memory import MemoryTransport
from tests.http.walls import get, until
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPListener, HTTPSettings, ProtocolError, Request
from tiny_listener.http.body.incoming import IncomingBody
from tiny_listener.http.h1.reading.grammar import Grammar
from tiny_listener.http.h1.reading.head import Head
from tiny_listener.http.h1.reading.reader import HEAD_WORK, MAX_WORK, RequestReader
from tiny_listener.http.h1.server import HTTPServer

MANY = 200_000
LARGE = HTTPSettings(max_request_line=MANY * 4, max_header=MANY * 4, max_headers=MANY * 4, max_header_fields=MANY)


@pytest.mark.parametrize(
    ("start", "piece", "end"),
    [
        (b"GET /", b"a", b" HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"a", b"\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a:\r\n", b"\r\n"),
        (b"", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ],
    ids=["a request line", "a header", "header lines", "empty lines"],
)
def test_a_head_in_pieces(start: bytes, piece: bytes, end: bytes) -> None:
    reader = RequestReader(LARGE, Grammar())
    count = MANY // (20 if piece == b"a:\r\n" else 1)  # llhttp takes heads of 80 KiB
    count = min(count, 70_000 // len(piece)) if piece != b"\r\n" else count
    events = reader.receive(start)
    for _ in range(count):
        events += reader.receive(piece)
    events += reader.receive(end)
    assert [type(event) for event in events] == [Head]


@pytest.mark.parametrize("piece", [b"a", b"a: b\r\n", b"\ra", b"a\r"])
def test_a_head_in_pieces_that_never_ends(piece: bytes) -> None:
    reader = RequestReader(LARGE, Grammar())
    events = reader.receive(b"GET / HTTP/1.1\r\nHost: x\r\n")
    sent = 0
    while not events and sent < 4 * MANY + 100:
        events = reader.receive(piece)
        sent += len(piece)
    (error,) = events
    assert isinstance(error, ProtocolError)
    assert error.status == 431


@pytest.mark.parametrize("framing", [b"Content-Length: %d" % MANY, b"Transfer-Encoding: chunked"])
def test_a_body_in_pieces(framing: bytes) -> None:
    reader = RequestReader(HTTPSettings(), Grammar())
    reader.receive(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
    piece = b"1\r\na\r\n" if b"chunked" in framing else b"a"
    size = 0
    for _ in range(MANY):
        for event in reader.receive(piece):
            size += len(event) if isinstance(event, bytes) else 0
    assert size == MANY


def test_a_chunked_body_byte_by_byte() -> None:
    reader = RequestReader(HTTPSettings(), Grammar())
    reader.receive(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    size = 0
    for byte in b"0001;a=b\r\na\r\n" * (MANY // 100) + b"0\r\n" + b"T: t\r\n" * 100 + b"\r\n":
        for event in reader.receive(bytes([byte])):
            size += len(event) if isinstance(event, bytes) else 0
    assert size == MANY // 100
    assert reader.is_idle


def test_what_one_call_does_is_limited() -> None:
    reader = RequestReader(HTTPSettings(), Grammar())
    events = reader.receive(get("/") * 10_000)
    assert len(events) == MAX_WORK // HEAD_WORK
    assert reader.has_more
    reader = RequestReader(HTTPSettings(), Grammar())
    reader.receive(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    calls, pieces = 1, len(reader.receive(b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n"))
    while reader.has_more:
        events = reader.receive(b"")
        assert len(events) <= MAX_WORK
        pieces += len(events)
        calls += 1
    assert pieces == 10_001
    assert calls >= 3 * 10_000 // MAX_WORK


class Flow:
    """Asks for nothing."""

    def body_taken(self) -> None:
        pass

    def body_wanted(self, body: IncomingBody) -> None:
        pass


def test_a_body_that_nobody_takes_is_counted_as_it_comes(runner: asyncio.Runner) -> None:
    """And takes about as much memory as it has bytes, however small the pieces."""

    async def main() -> None:
        body = IncomingBody(Flow(), expects_continue=False)
        body.max_size = 10 * MANY
        for n in range(MANY):
            body.feed(b"a")
            assert body.buffered == n + 1
        assert len(body._parts) == 1
        body.feed(b"b" * 5000)
        body.finish()
        assert await body.read() == b"a" * MANY + b"b" * 5000
        assert body.buffered == 0

    runner.run(main())


def test_many_small_chunks_leave_the_loop_to_others(runner: asyncio.Runner) -> None:
    """Between two slices of one client's bytes another is served."""
    app = HTTPListener()

    @app.post("/")
    async def read(request: Request) -> str:
        return str(len(await request.body()))

    @app.get("/")
    async def home() -> str:
        return "home"

    async def main() -> None:
        app.attach(Host())
        server = HTTPServer(app, app.settings)
        busy, other = MemoryTransport(server), MemoryTransport(server)
        await busy.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await busy.feed(b"1\r\na\r\n" * 40_000 + b"0\r\n\r\n")
        served = 0
        while not busy.written:
            await other.feed(get("/"))
            await asyncio.sleep(0)
            served += 1
        assert served > 50
        await until(lambda: other.written.count(b"home") == served)
        assert busy.written.endswith(b"40000")
        await busy.end()
        await other.end()
        server.abort()

    runner.run(main())


@pytest.mark.parametrize("work", [1, 3, 9, 50])
def test_how_work_is_sliced_changes_nothing(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, work: int) -> None:
    from tests.http.readings import ASKED, check_one_reading
    from tiny_listener.http.h1 import fast_path
    from tiny_listener.http.h1.reading import reader as framing

    monkeypatch.setattr(framing, "MAX_WORK", work)
    monkeypatch.setattr(fast_path, "MAX_SHARE", max(1, work // 3))

    async def main() -> None:
        for start in range(0, len(ASKED), 4):
            await check_one_reading([b"".join(ASKED[start : start + 4]) * 3])

    runner.run(main())
