"""The access log: what a line says, that no client can forge one, and which formats are refused."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.helpers import serving
from tests.http.walls import get, until
from tiny_listener.cli.logs import JSONFormatter
from tiny_listener.errors import WrongOptions
from tiny_listener.http import FileResponse, HTTPError, HTTPListener, Response, StreamingResponse
from tiny_listener.http.access import AccessLog, line_format
from tiny_listener.http.access.entry import Entry, quotable
from tiny_listener.http.access.formats import ATOMS
from tiny_listener.http.h1.request import H1Request
from tiny_listener.http.testing import TestClient

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


class Kept(logging.Handler):
    """The records of the access log."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Any:
    handler, logger = Kept(), logging.getLogger("tiny_listener.access")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


def application(text: str | None = None, *, file: Path | None = None) -> HTTPListener:
    app = HTTPListener(access_log=True, access_log_format=text)

    @app.get("/hello")
    async def hello() -> Response:
        return Response("hello", headers=[("x-kind", "a"), ("X-Kind", 'b"')])

    @app.get("/nothing")
    async def nothing() -> None: ...

    @app.get("/late")
    async def late() -> str:
        await asyncio.sleep(0)
        return "late"

    @app.get("/refused")
    async def refused() -> None:
        raise HTTPError(403, "no")

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "abc"
        await asyncio.sleep(0)
        yield "defg"

    @app.get("/announced")
    async def announced() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"abc"
            yield b"defg"

        return StreamingResponse(pieces(), length=7)

    @app.get("/broken")
    async def broken() -> AsyncIterator[str]:
        yield "abc"
        raise ZeroDivisionError

    @app.get("/file")
    async def sent() -> FileResponse:
        assert file is not None
        return FileResponse(file)

    return app


@pytest.mark.parametrize(
    ("method", "path", "status", "size"),
    [
        ("GET", "/hello", 200, 5),
        ("HEAD", "/hello", 200, 0),
        ("GET", "/nothing", 204, 0),
        ("GET", "/late", 200, 4),
        ("GET", "/refused", 403, 3),
        ("GET", "/stream", 200, 7),
        ("HEAD", "/stream", 200, 0),
        ("GET", "/announced", 200, 7),
        ("HEAD", "/announced", 200, 0),
        ("GET", "/nowhere", 404, 15),
        ("HEAD", "/nowhere", 404, 0),
        ("DELETE", "/hello", 405, 51),
    ],
)
def test_the_size_of_the_body_as_sent(kept: Kept, method: str, path: str, status: int, size: int) -> None:
    response = TestClient(application("%(s)s %(B)s %(b)s")).request(method, path)
    assert (response.status_code, len(response.content)) == (status, size)
    assert kept.lines == [f"{status} {size} {size or '-'}"]
    (record,) = kept.records
    assert (vars(record)["status"], vars(record)["size"]) == (status, size)


@pytest.mark.parametrize("size", [0, 1, 64 * 1024 - 1, 64 * 1024, 3_000_000])
def test_a_file_is_counted_whichever_way_it_is_sent(
    runner: asyncio.Runner, kept: Kept, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)

    async def main() -> None:
        async with serving(application("%(s)s %(B)s", file=path)) as server:
            client = await server.connect()
            assert len((await client.ask(get("/file"))).body) == size
            await until(lambda: kept.lines == [f"200 {size}"], "the line")
            assert (await client.ask(get("/file", fields="Range: bytes=0-9\r\n"))).status == (206 if size else 416)
            await until(lambda: len(kept.lines) == 2, "the second line")
            assert kept.lines[1] == (f"206 {min(size, 10)}" if size else kept.lines[1])

    runner.run(main())


def test_a_stream_is_logged_at_its_end_and_a_broken_one_with_what_was_sent(kept: Kept) -> None:
    client = TestClient(application("%(U)s %(s)s %(B)s"), raise_server_exceptions=False)
    with pytest.raises(ConnectionError):
        client.get("/broken")
    assert kept.lines == ["/broken 200 3"]


def test_a_stream_whose_client_is_gone_is_logged_once(runner: asyncio.Runner, kept: Kept) -> None:
    app = HTTPListener(access_log=True, access_log_format="%(s)s %(B)s")
    begun, never = asyncio.Event(), asyncio.Event()

    @app.get("/")
    async def stream() -> AsyncIterator[str]:
        yield "abc"
        begun.set()
        await never.wait()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(get("/"))
            await begun.wait()
            assert not kept.lines
            client.writer.transport.abort()
            await until(lambda: kept.lines, "the line")
            assert kept.lines == ["200 3"]

    runner.run(main())


def test_the_usual_line(kept: Kept) -> None:
    client = TestClient(application())
    client.get('/hello?a="b', headers={"User-Agent": "me", "Referer": "http://x/"})
    client.get("/stream")
    for line, size in zip(kept.lines, (5, 7), strict=True):
        assert re.fullmatch(rf'testclient:50000 - "GET /\w+\S* HTTP/1.1" 200 OK {size}B \d+\.\dms', line)
    entry = json.loads(JSONFormatter().format(kept.records[0]))
    assert (entry["size"], entry["user_agent"], entry["referer"]) == (5, "me", "http://x/")
    assert not {"user_agent", "referer"} & json.loads(JSONFormatter().format(kept.records[1])).keys()


def test_what_could_not_be_read_is_a_line_too(runner: asyncio.Runner, kept: Kept) -> None:
    async def main() -> None:
        async with serving(application(COMBINED)) as server:
            client = await server.connect()
            await client.send(b"\x1b[31m\r\n\r\n")
            assert (await client.receive()).status == 400

    runner.run(main())
    (line,) = kept.lines
    assert re.fullmatch(r'127\.0\.0\.1 - - \[\S+ [+-]\d{4}\] "-  HTTP/1\.1" 400 \d+ "-" "-"', line)


def entry_of(head: bytes = b"", **values: Any) -> Entry:
    request = H1Request(values.pop("method", "GET"), values.pop("target", "/a%20b?x=1&y"), 0, head)
    request.connection = values.pop("connection", TestConnection())
    first = b'HTTP/1.1 200 OK\r\ndate: now\r\nX-A: 1"\r\nx-a:  2\r\nx-ab: 3\r\n\r\nbody'
    return Entry(request, 200, values.pop("seconds", 1.2345678), first, values.pop("sent", 6))


class TestConnection:
    __test__ = False

    def origin_of(self, _: Any) -> Any:
        return type("Origin", (), {"client": ("2001:db8::1", 80), "scheme": "http"})()


BASIC = base64.b64encode(b'An"n\x1b:secret:x').decode()


@pytest.mark.parametrize(
    ("atom", "text"),
    [
        ("%(h)s", "2001:db8::1"),
        ("%(l)s", "-"),
        ("%(r)s", "GET /a%20b?x=1&y HTTP/1.0"),
        ("%(m)s", "GET"),
        ("%(U)s", "/a%20b"),
        ("%(q)s", "x=1&y"),
        ("%(H)s", "HTTP/1.0"),
        ("%(s)s", "200"),
        ("%(B)s", "10"),
        ("%(b)s", "10"),
        ("%(T)s", "1"),
        ("%(M)s", "1234"),
        ("%(D)s", "1234567"),
        ("%(L)s", "1.234568"),
        ("%(p)s", "<PID>"),
        ("%({X-A}o)s", '1\\", 2'),
        ("%({x-none}o)s", "-"),
        ("%({X-Id}i)s", "7, 8"),
        ("%({x-none}i)s", "-"),
        ("%(f)s", "http://y/"),
        ("%(a)s", "me\\x1b"),
        ("%(u)s", 'An\\"n\\x1b'),
        ("a %% b", "a % b"),
        ("%(s)s%(s)s", "200200"),
    ],
)
def test_atoms(atom: str, text: str) -> None:
    fields = {
        "x-id": "7",
        "X-ID": "8",
        "Referer": "http://y/",
        "User-Agent": "me\x1b",
        "Authorization": f"Basic {BASIC}",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    entry = entry_of(f"GET / HTTP/1.0\r\n{lines}\r\n".encode())
    entry.request.fields = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    assert "".join(part(entry) for part in line_format(atom)) == text.replace("PID", str(os.getpid()))


@pytest.mark.parametrize("value", ["", "Basic", "Basic !", "Basic Zm", "Bearer Zm9v", "Basic \xff"])
def test_users_that_are_none(value: str) -> None:
    entry = entry_of()
    entry.request.fields = [(b"authorization", value.encode("latin-1"))]
    assert entry.user == "-"


def test_the_time_is_that_of_the_common_log_format() -> None:
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", entry_of().time())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%(z)s", r"%\(z\)s is no atom; did you mean one of %\(h\)s, "),
        ("%(S)s", r"%\(S\)s is no atom; did you mean %\(s\)s\?"),
        ("%(status)s", r"%\(status\)s is no atom; did you mean %\(s\)s\?"),
        ("%(user_agnt)s", r"did you mean %\(a\)s\?"),
        ("%(body_bytes_sent)s", r"did you mean %\(B\)s\?"),
        ("%({x-id}e)s", r"%\(\{x-id\}e\)s is no atom; did you mean %\(\{x-id\}i\)s\?"),
        ("%(x-id)s", r"did you mean %\(\{x-id\}i\)s\?"),
        ("%({a b}i)s", r"did you mean %\(\{host\}i\)s\?"),
        ("%()s", r"%\(\)s is no atom"),
        ("%h %s", r"'%h' is no atom: write %\(h\)s, or %% for a percent sign"),
        ("100 %", "'%' is no atom"),
        ("%(h", r"'%\(' is no atom"),
        ("%(D)d", r"%\(D\) is followed by s: %\(D\)s, not '%\(D\)d'"),
        ("%(D)", r"%\(D\) is followed by s"),
        ("", "is no format of a line"),
        ("  ", "is no format of a line"),
        ("%(h)s\n", "no control characters"),
    ],
)
def test_formats_that_are_none(text: str, message: str) -> None:
    with pytest.raises(WrongOptions, match=f"^--access-log-format: .*{message}"):
        AccessLog(text)


def test_a_wrong_format_in_the_settings_is_refused_before_the_first_request() -> None:
    with pytest.raises(WrongOptions, match="did you mean"), TestClient(HTTPListener(access_log_format="%(S)s")):
        pass


anything = st.binary(max_size=30)


@given(anything, anything, anything)
def test_no_client_leaves_its_quotes(agent: bytes, referer: bytes, user: bytes) -> None:
    entry = entry_of()
    entry.request.fields = [
        (b"user-agent", agent),
        (b"referer", referer),
        (b"authorization", b"Basic " + base64.b64encode(user)),
    ]
    line = "".join(part(entry) for part in line_format('"%(u)s" "%(f)s" "%(a)s"'))
    assert line.isascii()
    assert line.isprintable()
    quoted = r'"((?:[^"\\]|\\.)*)"'
    found = re.fullmatch(f"{quoted} {quoted} {quoted}", line)
    assert found is not None
    for text, value in ((found[2], referer), (found[3], agent)):
        assert text == (quotable(value.decode("latin-1")))


@given(st.text(max_size=40))
def test_what_is_escaped_can_be_read_back(text: str) -> None:
    escaped = quotable(text)
    assert escaped.replace('\\"', '"').encode("ascii").decode("unicode_escape") == text
    assert escaped.isprintable()


@given(st.text(st.sampled_from('%()s{}io hBx-"\n'), max_size=12))
def test_a_format_is_refused_or_writes_one_line(text: str) -> None:
    try:
        parts = line_format(text)
    except WrongOptions:
        return
    line = "".join(part(entry_of()) for part in parts)
    assert line.isprintable()


def test_a_line_that_cannot_be_written_stays_with_its_connection(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, kept: Kept
) -> None:
    def fail(_: Entry) -> str:
        raise ZeroDivisionError

    async def main() -> None:
        monkeypatch.setitem(ATOMS, "l", fail)
        async with serving(application("%(l)s")) as server:
            client = await server.connect()
            assert (await client.ask(get("/hello"))).body == b"hello"
            assert (await client.ask(get("/stream"))).body == b"abcdefg"
            await until(lambda: len(kept.records) == 2, "two failures")

    runner.run(main())
    assert {record.levelname for record in kept.records} == {"ERROR"}
    assert "The access log of Request(GET '/hello') failed" in kept.lines
