"""What is read from a head is what llhttp, which judges it, reads in it: never two readings of the same bytes."""

from __future__ import annotations

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_listener.http.fields import framing_lines, read_fields

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

odd = st.lists(st.sampled_from(ODD + NAMES), max_size=4).map(b"".join)
line = st.tuples(st.sampled_from(NAMES), st.just(b":"), odd, st.just(b"\r\n")).map(b"".join)


class Callbacks:
    """Keeps what the parser calls."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self.fields.append((name.lower(), value.rstrip(b" \t")))


@given(st.lists(line | odd.map(lambda text: text + b"\r\n"), max_size=6).map(b"".join))
@settings(deadline=None, max_examples=500)
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
