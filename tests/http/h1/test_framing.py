"""The reader of requests, by bytes: the same bytes are read the same way, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_listener.http import HTTPSettings, ProtocolError
from tiny_listener.http.h1.reading.grammar import Grammar
from tiny_listener.http.h1.reading.head import Head
from tiny_listener.http.h1.reading.reader import END, ReadEvent, RequestReader

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\nA: 1\r\na: 2\r\n\r\n"
LENGTH = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
CHUNKED = (
    b"POST /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'1\r\na\r\n00002;x="y"\r\nbc\r\n0\r\nTrailer: 1\r\n\r\n'
)
OLD = b"GET /e HTTP/1.0\r\n\r\n"
UPGRADE = b"GET /f HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
CLOSE = b"POST /g HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nz"
GOOD = (GET, LENGTH, EMPTY, CHUNKED, UPGRADE, b"\r\n" + GET)
BAD = (
    b"GET /\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n\r\n\r\n",
    b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    b"GET / HTTP/3.0\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1 1\r\na\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\na\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"e" * 5000,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: " + b"t" * 9000,
)


def read(data: bytes, cuts: list[int]) -> list[object]:
    """Return what is read, pieces of one body joined, so that it can be compared."""
    reader = RequestReader(HTTPSettings(), Grammar())
    events: list[ReadEvent] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        events += reader.receive(data[start:end])
    result: list[object] = []
    for event in events:
        if isinstance(event, Head):
            result.append((event.method, event.target, event.version, event.fields, event.keep_alive, event.length))
            if event.length != 0 and event.content is not None:
                result += [event.content, END] if event.content else [END]
        elif isinstance(event, ProtocolError):
            result.append(event.status)
        elif event is not END and result and isinstance(result[-1], bytes):
            result[-1] += event
        else:
            result.append(event)
    return result


@given(
    st.lists(st.sampled_from((*GOOD, OLD, CLOSE)), max_size=5),
    st.sampled_from((b"", *BAD)),
    st.lists(st.integers(0, 1000), max_size=20),
)
def test_where_the_bytes_are_cut_changes_nothing(good: list[bytes], bad: bytes, cuts: list[int]) -> None:
    data = b"".join(good) + bad
    assert read(data, sorted(min(cut, len(data)) for cut in cuts)) == read(data, [])


@pytest.mark.parametrize("bad", BAD)
def test_every_byte_for_itself(bad: bytes) -> None:
    data = b"".join(GOOD) + bad
    whole = read(data, [])
    assert read(data, list(range(1, len(data)))) == whole
    assert whole[-1] in (400, 431, 505)
    assert sum(isinstance(event, tuple) for event in whole) >= len(GOOD)


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_no_bytes_raise(data: bytes) -> None:
    for prefix in (b"", b"GET / HTTP/1.1\r\n", CHUNKED[:60]):
        events = RequestReader(HTTPSettings(), Grammar()).receive(prefix + data)
        assert all(not isinstance(event, ProtocolError) for event in events[:-1])


def test_what_a_head_says() -> None:
    assert read(GET, []) == [("GET", "/a?b", 1, [(b"host", b"x"), (b"a", b"1"), (b"a", b"2")], True, 0)]
    assert read(LENGTH, [])[1:] == [b"hello", END]
    assert read(CHUNKED, [])[1:] == [b"abc", END]
    assert read(EMPTY + GET, [])[0][5] == 0  # type: ignore[index]
    assert read(OLD, [])[0][4] is False  # type: ignore[index]


@pytest.mark.parametrize("last", [OLD, CLOSE])
def test_nothing_is_read_after_the_last_request(last: bytes) -> None:
    assert read(GET + last + GET, []) == read(GET + last, [])
    assert read(last + b"garbage", []) == read(last, [])


def test_an_upgrade_that_nobody_speaks_is_ignored() -> None:
    body = UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nhi")
    assert read(body + GET, [])[1:3] == [b"hi", END]
    assert len(read(body + GET, [])) == 4
