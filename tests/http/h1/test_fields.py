"""What is read from a head is what llhttp, which judges it, reads in it: never two readings of the same bytes."""

from __future__ import annotations

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_listener.http import HTTPSettings
from tiny_listener.http.errors import ProtocolError
from tiny_listener.http.h1.reading.fields import framing_lines, read_fields
from tiny_listener.http.h1.reading.grammar import Grammar
from tiny_listener.http.h1.reading.reader import RequestReader

NAMES = (
    b"Host",
    b"hOST",
    b"Content-Length",
    b"TRANSFER-ENCODING",
    b"Connection",
    b"expect",
    b"X-Host",
    b"Hostile",
    b"E",
)
ODD = (b":", b" ", b"\t", b"\r\n", b"\r", b"\n", b"\x00", b"\x7f", b"\x80", b"a", b"1", b",", b"\x0b", b"\x1c")
FRAMING = {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"}

VALUES = (
    b" keep-alive",
    b"keep-alive",
    b" close",
    b" keep-alive, close",
    b" 0",
    b" 3",
    b" chunked",
    b" 100-continue",
    b" x",
)

odd = st.lists(st.sampled_from(ODD + NAMES), max_size=4).map(b"".join)
line = st.tuples(st.sampled_from(NAMES), st.just(b":"), odd | st.sampled_from(VALUES), st.just(b"\r\n")).map(b"".join)


class Callbacks:
    """Keeps what the parser calls."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self.fields.append((name.lower(), value.rstrip(b" \t")))


@given(st.lists(line | odd.map(lambda text: text + b"\r\n"), max_size=6).map(b"".join))
@settings(max_examples=500)
def test_fields_are_read_as_llhttp_reads_them(lines: bytes) -> None:
    head = b"GET / HTTP/1.1\r\n" + lines + b"\r\n"
    if head.find(b"\r\n\r\n") + 4 != len(head):
        return  # the head ends sooner
    seen = Callbacks()
    try:
        httptools.HttpRequestParser(seen).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return
    assert read_fields(head) == seen.fields
    parts = [line[1:].partition(b":") for line in framing_lines(head)]
    framing = [(name.lower(), value.strip(b" \t")) for name, _, value in parts]
    assert framing == [field for field in seen.fields if field[0] in FRAMING]


def framing_by(reader: RequestReader, head: bytes) -> object:
    """How a reader frames a request: its borders, or why it is refused."""
    try:
        read = reader.read_head(head, 0)
    except ProtocolError as error:
        return error.status, error.detail
    return read and (read.is_plain, read.keep_alive, read.length, read.expects_continue, read.content, reader.position)


@given(st.lists(line | odd.map(lambda text: text + b"\r\n"), max_size=6).map(b"".join), st.booleans())
@settings(max_examples=500)
def test_a_request_is_framed_the_same_whatever_came_before(lines: bytes, more: bool) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n" + b"abc" * more
    expected = framing_by(RequestReader(HTTPSettings(), Grammar()), head)
    for before in (b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"):
        grammar = Grammar()
        first = RequestReader(HTTPSettings(), grammar)
        first.read_head(before, 0)
        assert framing_by(RequestReader(HTTPSettings(), grammar), head) == expected
        assert framing_by(first, head) == expected
        assert framing_by(first, before) == framing_by(RequestReader(HTTPSettings(), Grammar()), before)


def test_a_host_that_was_valid_before_does_not_vouch_for_another() -> None:
    reader = RequestReader(HTTPSettings(), Grammar())
    start = b"GET / HTTP/1.1\r\n"
    for lines, refused in (
        (b"", True),
        (b"Host: x\r\n", False),
        (b"Host: x y\r\n", True),
        (b"Host: x\r\nhOST: x\r\n", True),
        (b"Host: x\r\nA: b\r\nHOST: y\r\n", True),
        (b"Host: x\r\nEXPECT: wonders\r\n", True),
        (b"", True),
        (b"Host: x\r\nCookie: a=b\r\nETag: c\r\nHosts: z\r\nConnection: keep-alive\r\n", False),
    ):
        framing = framing_by(reader, start + lines + b"\r\n")
        assert isinstance(framing, tuple)
        assert (framing[0] in (400, 417)) == refused, lines
