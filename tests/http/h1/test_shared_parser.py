"""The parser is shared by all connections: each request is judged as it would be alone, whatever others sent before."""

from __future__ import annotations

from itertools import pairwise

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.golden import INVALID, VALID
from tiny_listener.http import HTTPSettings, ProtocolError
from tiny_listener.http.h1.reading.grammar import Grammar
from tiny_listener.http.h1.reading.head import Head
from tiny_listener.http.h1.reading.reader import RequestReader

LINES = (
    b"Host: x\r\n",
    b"Host: y\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 1000000000\r\n",
    b"Content-Length: 00000000000000000000\r\n",
    b"Content-Length : 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Proxy-Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Expect: miracles\r\n",
    b"A: b\r\n",
    b"A : b\r\n",
    b"A: b\r\n c\r\n",
    b"A: \0\r\n",
    b": empty\r\n",
)
STARTS = (
    b"GET / HTTP/1.1\r\n",
    b"POST /echo HTTP/1.1\r\n",
    b"HEAD / HTTP/1.1\r\n",
    b"BREW / HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"GET / HTTP/1.7\r\n",
    b"CONNECT x:443 HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"GET  / HTTP/1.1\r\n",
)
BODIES = (b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

heads = st.builds(
    lambda start, lines, body: start + b"".join(lines) + b"\r\n" + body,
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(LINES), max_size=4),
    st.sampled_from(BODIES),
)
requests = heads | st.sampled_from([golden.data for golden in (*VALID, *INVALID) if len(golden.data) < 2000])
steps = st.lists(st.tuples(st.integers(0, 3), requests, st.lists(st.integers(0, 400), max_size=2)), max_size=12)


def judged(reader: RequestReader, data: bytes, cuts: list[int]) -> list[object]:
    """Return what a reader makes of bytes, in pieces."""
    borders = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    found: list[object] = []
    for start, end in pairwise(borders):
        for event in reader.receive(data[start:end]):
            if isinstance(event, Head):
                found.append((event.method, event.target, event.version, event.fields, event.keep_alive, event.length))
                found.append(event.content)
            elif isinstance(event, ProtocolError):
                found.append((event.status, event.is_head))
            else:
                found.append(event)
    return found


@given(steps)
@settings(max_examples=400, derandomize=True)
def test_each_connection_is_judged_as_if_it_were_alone(steps: list[tuple[int, bytes, list[int]]]) -> None:
    shared = Grammar()
    together = [RequestReader(HTTPSettings(), shared) for _ in range(4)]
    alone = [RequestReader(HTTPSettings(), Grammar()) for _ in range(4)]
    for number, data, cuts in steps:
        assert judged(together[number], data, cuts) == judged(alone[number], data, cuts), data


@given(st.lists(requests, min_size=1, max_size=8), st.booleans())
@settings(max_examples=300, derandomize=True)
def test_a_used_parser_judges_heads_as_a_new_one_does(datas: list[bytes], rolls_back: bool) -> None:
    """The heads that the fast path reads, and gives back."""

    def read(reader: RequestReader, data: bytes) -> object:
        try:
            head = reader.read_head(data, 0) if data else None
        except ProtocolError as exc:
            return exc.status
        finally:
            if rolls_back:
                reader.roll_back()
        return head and (head.method, head.fields, head.is_plain, head.length, head.keep_alive, head.content)

    shared = Grammar()
    for data in datas:
        assert read(RequestReader(HTTPSettings(), shared), data) == read(RequestReader(HTTPSettings(), Grammar()), data)


def test_a_refused_head_leaves_nothing_behind() -> None:
    """llhttp took it, and waits for its body; the framing refuses it."""
    shared = Grammar()
    for line in (b"", b"Host: a\r\nHost: b\r\n", b"Host: x\r\nExpect: miracles\r\n"):
        refused = b"POST / HTTP/1.1\r\n" + line + b"Content-Length: 1000000000\r\n\r\n"
        (error,) = RequestReader(HTTPSettings(), shared).receive(refused)
        assert isinstance(error, ProtocolError)
        smuggled = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello"
        (error,) = RequestReader(HTTPSettings(), shared).receive(smuggled)
        assert isinstance(error, ProtocolError)
        assert error.status == 400


def test_an_exception_in_the_middle_leaves_nothing_behind() -> None:
    shared = Grammar()
    shared.open_message.append(True)
    shared.parser.feed_data(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")  # and then anything happened
    (error,) = RequestReader(HTTPSettings(), shared).receive(b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n")
    assert isinstance(error, ProtocolError)


def test_llhttp_calls_back_at_the_end_of_each_message() -> None:
    """What the wall rests on."""
    grammar = Grammar()
    for data, is_open in (
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", True),
    ):
        grammar.renew()
        grammar.open_message.append(True)
        grammar.parser.feed_data(data)
        assert bool(grammar.open_message) is is_open
    assert httptools.__version__
