"""Each golden file (see `golden`), read by the reader of bytes and by a server at the other end of a socket."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.http.golden import FOLDER, INVALID, VALID, Golden
from tests.http.helpers import serving
from tiny_listener.http import HTTPListener, HTTPSettings, ProtocolError, Request
from tiny_listener.http.h1.reading.grammar import Grammar
from tiny_listener.http.h1.reading.head import Head
from tiny_listener.http.h1.reading.reader import END, ReadEvent, RequestReader
from tiny_listener.http.target import path_of

GOOD = (
    b"POST /good HTTP/1.1\r\nHost: good\r\nContent-Length: 4\r\n\r\ngood",
    b"GET /good HTTP/1.1\r\nHost: good\r\n\r\n",
    b"POST /good HTTP/1.1\r\nHost: good\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\nA: b\r\n\r\n",
)
LAST = b"GET /last HTTP/1.1\r\nHost: good\r\nConnection: close\r\n\r\n"
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [\t\x20-\x7e]*\r\n")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)\r\n")
DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)
DOCUMENT = Path(__file__).parents[3] / "docs" / "understand" / "conformance.md"

valid = pytest.mark.parametrize("golden", VALID, ids=[golden.name for golden in VALID])
invalid = pytest.mark.parametrize("golden", INVALID, ids=[golden.name for golden in INVALID])


# --- the reader ---------------------------------------------------------------------------------


def read(data: bytes, *, cut: bool = False) -> tuple[list[tuple[Head, bytes, bool]], ProtocolError | None]:
    """Return the requests, each with its body and whether that is complete, and the error that ended them."""
    reader = RequestReader(HTTPSettings(), Grammar())
    events: list[ReadEvent] = []
    size = len(data) if not cut else 1 if len(data) < 2000 else 97
    for i in range(0, len(data), size):
        events += reader.receive(data[i : i + size])
    requests: list[tuple[Head, bytes, bool]] = []
    for i, event in enumerate(events):
        if isinstance(event, Head):
            requests.append((event, event.content or b"", event.content is not None))
        elif isinstance(event, ProtocolError):
            assert i == len(events) - 1
            return requests, event
        else:
            head, body, complete = requests[-1]
            assert not complete
            requests[-1] = (head, body, True) if event is END else (head, body + bytes(event), False)
    return requests, None


def check_requests(golden: Golden, found: list[tuple[Head, bytes, bool]]) -> None:
    assert len(found) == len(golden.requests)
    for (head, body, complete), expected in zip(found, golden.requests, strict=True):
        seen = {"method": head.method, "target": head.target, "version": head.version, "keep_alive": head.keep_alive}
        assert seen == {key: expected[key] for key in seen}
        assert complete
        assert body.decode("latin-1") == expected.get("body", "")
        for name, value in expected.get("headers", {}).items():
            joined = b", ".join(v for n, v in head.fields if n == name.encode())
            assert joined.decode("latin-1") == value


def goes_on(golden: Golden) -> bool:
    return all(request["keep_alive"] for request in golden.requests)


@valid
def test_valid_requests_are_read(golden: Golden) -> None:
    whole, error = read(golden.data)
    assert error is None
    check_requests(golden, whole)
    between = b"".join(GOOD)
    found, error = read(between + golden.data + between)
    assert error is None
    check_requests(golden, found[3 : 3 + len(golden.requests)])
    behind = [(head.target, body) for head, body, _ in found[3 + len(golden.requests) :]]
    assert behind == ([("/good", b"good"), ("/good", b""), ("/good", b"good")] if goes_on(golden) else [])


@valid
def test_valid_requests_are_read_byte_by_byte(golden: Golden) -> None:
    found, error = read(golden.data, cut=True)
    assert error is None
    check_requests(golden, found)


def facts(found: list[tuple[Head, bytes, bool]]) -> list[Any]:
    return [(head.method, head.target, head.fields, body, complete) for head, body, complete in found]


@invalid
def test_invalid_requests_are_refused_wherever_they_are_cut(golden: Golden) -> None:
    before, behind = b"".join(GOOD), b"".join(GOOD) if golden.expected["found_by"] == "reader" else b""
    alone, error = read(golden.data)
    for data, skip in ((golden.data, 0), (golden.data + behind, 0), (before + golden.data + behind, 3)):
        for cut in (False, True):
            found, same = read(data, cut=cut)
            assert facts(found[skip:]) == facts(alone)
            assert (error and error.status) == (same and same.status)
    if golden.expected["found_by"] == "reader":
        assert error is not None
        assert error.status == golden.expected["status"]
        assert error.is_head == golden.expected.get("is_head", False)
        assert "\n" not in error.detail
    else:
        assert error is None
    if golden.expected["found_by"] == "target":
        ((head, _, _),) = alone
        with pytest.raises(ProtocolError) as raised:
            path_of(head.method, head.target)
        assert raised.value.status == golden.expected["status"]


# --- the server ---------------------------------------------------------------------------------


def application() -> HTTPListener:
    app = HTTPListener()

    async def echo(request: Request) -> dict[str, Any]:
        return {
            "method": request.method,
            "target": request.target,
            "path": request.path,
            "version": request.version,
            "host": request.header("host"),
            "headers": {name.decode(): request.header(name.decode()) for name, _ in request.fields},
            "body": (await request.body()).decode("latin-1"),
        }

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "MEOW"):
        app.route(method, "/{_:path}", name=method)(echo)
    app.post("/small", name="small", max_body=10)(echo)
    return app


def responses(data: bytes, methods: list[str]) -> list[tuple[int, dict[str, str], bytes]]:
    """Take the responses to requests of these methods apart, and check that each is well-formed."""
    found: list[tuple[int, dict[str, str], bytes]] = []
    position = 0
    while position < len(data):
        line = STATUS_LINE.match(data, position)
        assert line is not None, data[position:]
        position, status = line.end(), int(line[1])
        fields: dict[str, str] = {}
        while field := FIELD_LINE.match(data, position):
            position, name = field.end(), field[1].decode()
            assert name not in fields
            fields[name] = field[2].decode()
        assert data.startswith(b"\r\n", position)
        position += 2
        if status == 100:
            assert not fields
            continue
        assert DATE.fullmatch(fields["date"])
        assert "transfer-encoding" not in fields
        assert ("content-length" in fields) == (status != 204)
        size = int(fields.get("content-length", "0"))
        body = b"" if methods[len(found)] == "HEAD" else data[position : position + size]
        assert len(body) == (0 if methods[len(found)] == "HEAD" else size)
        position += len(body)
        assert ("allow" in fields) == (status in (204, 405) or (status == 501 and "close" not in fields.values()))
        found.append((status, fields, body))
    return found


async def answers(*pieces: bytes, end: bool = False) -> list[bytes]:
    """Return what comes back for each of these, sent on connections of their own."""
    found = []
    async with serving(application()) as server:
        for data in pieces:
            client = await server.connect()
            await client.send(data)
            if end:
                client.writer.write_eof()
            found.append(await asyncio.wait_for(client.reader.read(), 10))
    return found


def check_answers(golden: Golden, found: list[tuple[int, dict[str, str], bytes]]) -> None:
    for (status, fields, body), expected in zip(found, golden.requests, strict=True):
        assert status == expected["status"]
        assert (fields.get("connection") == "close") == (not expected["keep_alive"])
        if status == 200 and expected["method"] != "HEAD":
            seen = msgspec.json.decode(body)
            headers = seen.pop("headers")
            assert seen == {
                **{key: expected[key] for key in ("method", "target", "path", "version")},
                "host": expected.get("host"),
                "body": expected.get("body", ""),
            }
            assert expected.get("headers", {}).items() <= headers.items()


@valid
def test_valid_requests_are_answered(runner: asyncio.Runner, golden: Golden) -> None:
    methods = [request["method"] for request in golden.requests]
    before = b"".join(GOOD)
    for good, data in zip((0, 3), runner.run(answers(golden.data + LAST, before + golden.data + LAST)), strict=True):
        found = responses(data, [""] * good + [*methods, "GET"])
        assert [status for status, _, _ in found[:good]] == [200] * good
        check_answers(golden, found[good : good + len(methods)])
        assert len(found) == good + len(methods) + goes_on(golden)


@invalid
def test_invalid_requests_end_the_connection(runner: asyncio.Runner, golden: Golden) -> None:
    expected = golden.expected
    end = expected["found_by"] == "end"
    answered = expected.get("answered", 0)
    method = "HEAD" if expected.get("is_head") else ""
    before, behind = b"".join(GOOD), b"" if end else b"".join(GOOD)
    both = runner.run(answers(golden.data, before + golden.data + behind, end=end))
    for good, data in zip((answered, 3 + answered), both, strict=True):
        found = responses(data, [""] * good + [method])
        assert [status for status, _, _ in found] == [200] * good + [expected["status"]]
        *others, (_, fields, body) = found
        assert all("connection" not in good_fields for _, good_fields, _ in others)
        assert fields["connection"] == "close"
        assert fields["content-type"] == "text/plain; charset=utf-8"
        assert body.count(b"\n") == (0 if method else 1)


# --- the table in the documents -------------------------------------------------------------------


def test_there_are_files_enough_and_each_says_what_it_shows() -> None:
    assert len(VALID) >= 90
    assert len(INVALID) >= 120
    for golden in (*VALID, *INVALID):
        assert re.fullmatch(r"\d{4} [\dA-Z.]+", golden.expected["rfc"])
        assert golden.expected["shows"]
    for kind in ("valid", "invalid"):
        stems = [sorted(path.stem for path in (FOLDER / kind).glob(f"*.{suffix}")) for suffix in ("http", "toml")]
        assert stems[0] == stems[1]


def test_what_the_table_names_exists() -> None:
    text = DOCUMENT.read_text()
    files = {f"{kind}/{golden.name[4:]}" for kind, all_ in (("valid", VALID), ("invalid", INVALID)) for golden in all_}
    named = set(re.findall(r"`((?:in)?valid/[^`]+)`", text)) - {"valid/...", "invalid/..."}
    assert named - files == set()
    assert len(re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)) > 10  # tests/docs/test_references.py finds them
    for row in re.findall(r"^\| 9.*", text, re.MULTILINE):
        assert "`" in row.rpartition(" | ")[2]
