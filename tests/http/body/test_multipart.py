"""The message framing of multipart/form-data: whatever the bytes are, and however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_listener.http.body.multipart import (
    MAX_BOUNDARY,
    MAX_PADDING,
    MAX_PART_FIELDS,
    MAX_PART_HEAD,
    MultipartError,
    MultipartParser,
    parse_parameters,
)
from tiny_listener.http.headers import Field

Part = tuple[list[Field], bytes]


class Collected:
    """Keeps the parts."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.open: tuple[list[Field], bytearray] | None = None

    def begin(self, fields: list[Field]) -> None:
        assert self.open is None
        self.open = fields, bytearray()

    def data(self, piece: bytes) -> None:
        assert self.open is not None
        assert piece
        self.open[1].extend(piece)

    def end(self) -> None:
        assert self.open is not None
        fields, content = self.open
        self.parts.append((fields, bytes(content)))
        self.open = None


def parse(body: bytes, boundary: bytes = b"b", step: int = 10**6) -> tuple[list[Part], bool]:
    collected = Collected()
    parser = MultipartParser(boundary, collected)
    for start in range(0, len(body), step):
        parser.feed(body[start : start + step])
        assert len(parser._buffer) <= max(MAX_PART_HEAD, len(boundary) + MAX_PADDING) + 8
    return collected.parts, parser.is_complete


HEAD = b"A: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"--b--", []),
        (b"--b--\r\n", []),
        (b"\r\n--b--", []),
        (b"--b\r\nA: 1\r\n\r\nx\r\n--b--", [([(b"a", b"1")], b"x")]),
        (b"--b\r\nA: 1\r\n\r\n\r\n--b--", [([(b"a", b"1")], b"")]),
        (b"--b\r\nA: 1\r\n\r\n--b--", [([(b"a", b"1")], b"")]),
        (b"--b\r\n\r\nx\r\n--b--", [([], b"x")]),
        (b"--b\r\n\r\n--b--", [([], b"")]),
        (b"--b\r\nA:\t 1 \t\r\n\r\n\r\n\r\n--b--", [([(b"a", b"1")], b"\r\n")]),
        (
            b"--b \t\r\nA:\r\n\r\nx\r\n--b" + b" " * MAX_PADDING + b"\r\n\r\ny\r\n--b--",
            [([(b"a", b"")], b"x"), ([], b"y")],
        ),
        (b"--b\r\n\r\n\r\n--bx\r\n--b-\r\n--b\n--b --\r\n--b--", [([], b"\r\n--bx\r\n--b-\r\n--b\n--b --")]),
        (b"--b\r\n\r\nx--b\r\n--b--", [([], b"x--b")]),
    ],
)
@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"This is a multi-part message.\r\n", b"x\r\n--bx\r\n-", b"--a--"])
@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b" x", b"\r\n--b\r\n\r\nx\r\n--b--"])
@pytest.mark.parametrize("step", [1, 2, 3, 10**6])
def test_what_is_before_and_after_is_ignored(
    body: bytes, parts: list[Part], preamble: bytes, epilogue: bytes, step: int
) -> None:
    before = preamble if not preamble or preamble.endswith(b"\r\n") else preamble + b"\r\n"
    assert parse(before + body + epilogue, step=step) == (parts, True)


@given(
    st.lists(st.tuples(st.sampled_from([b"", b"A: 1\r\n"]), st.binary(max_size=12)), max_size=4),
    st.sampled_from([b"b", b"\x21", b"-", b"--", b"b b", b"b" * MAX_BOUNDARY]),
    st.integers(1, 40),
)
def test_contents_come_as_they_were_sent(parts: list[tuple[bytes, bytes]], boundary: bytes, step: int) -> None:
    parts = [(head, content) for head, content in parts if b"--" + boundary not in b"\r\n" + content]
    body = b"".join(b"--" + boundary + b"\r\n" + head + b"\r\n" + content + b"\r\n" for head, content in parts)
    expected = [([(b"a", b"1")] if head else [], content) for head, content in parts]
    assert parse(body + b"--" + boundary + b"--", boundary, step) == (expected, True)


@given(
    st.lists(
        st.sampled_from(
            [b"\r", b"\n", b"\r\n", b"--", b"-", b"b", b" ", b"\t", b"\r\n--b", b"A: 1", b":", b"x", b"\0"]
        ),
        max_size=30,
    ).map(b"".join),
    st.integers(1, 5),
)
def test_cuts_change_nothing(body: bytes, step: int) -> None:
    def outcome(step: int) -> object:
        try:
            return parse(b"--b\r\n" + body, step=step)
        except MultipartError as exc:
            return str(exc)

    assert outcome(step) == outcome(10**6)


FLOODS = [
    b"\r\n--",
    b"\r",
    b"\r\n",
    b"-",
    b"\r\n--bx",
    b"\r\n--b" + b" " * (MAX_PADDING + 1),
    b"\r\n--b \r",
    b"\0",
]


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("start", [b"", b"--b\r\n\r\n", b"--b--"])
@pytest.mark.parametrize("step", [1, 1000])
def test_floods_are_not_kept(flood: bytes, start: bytes, step: int) -> None:
    body = flood * (5000 // len(flood))
    parts, is_complete = parse(start + body + b"x\r\n--b--", step=step)
    assert parts == ([([], body + b"x")] if start == b"--b\r\n\r\n" else [])
    assert is_complete


def head_of(size: int) -> bytes:
    return b"--b\r\nA: " + b"x" * (size - 5) + b"\r\n\r\n\r\n--b--"


@pytest.mark.parametrize("step", [1, 10**6])
def test_heads_of_parts_are_bounded(step: int) -> None:
    assert parse(head_of(MAX_PART_HEAD), step=step)[1]
    with pytest.raises(MultipartError, match=f"at most {MAX_PART_HEAD} bytes"):
        parse(head_of(MAX_PART_HEAD + 1), step=step)
    with pytest.raises(MultipartError, match=f"at most {MAX_PART_HEAD} bytes"):
        parse(b"--b\r\n" + b"A" * (MAX_PART_HEAD + 5), step=step)
    assert len(parse(b"--b\r\n" + b"A: 1\r\n" * MAX_PART_FIELDS + b"\r\n--b--", step=step)[0][0][0]) == MAX_PART_FIELDS
    with pytest.raises(MultipartError, match=f"at most {MAX_PART_FIELDS} fields"):
        parse(b"--b\r\n" + b"A: 1\r\n" * (MAX_PART_FIELDS + 1) + b"\r\n--b--", step=step)


@pytest.mark.parametrize(
    "line", [b"A", b": x", b"A : 1", b" A: 1", b"A: 1\r\n B", b"A: 1\nB: 2", b"A: \0", b"A: 1\rB: 2"]
)
def test_malformed_heads(line: bytes) -> None:
    with pytest.raises(MultipartError, match="a name, a colon and a value"):
        parse(b"--b\r\n" + line + b"\r\n\r\n\r\n--b--")


def test_boundaries() -> None:
    for boundary in (b"b" * MAX_BOUNDARY, b"a b", b"'()+_,-./:=?"):
        assert parse(b"--" + boundary + b"--", boundary) == ([], True)
    for boundary in (b"", b"b" * (MAX_BOUNDARY + 1), b"b ", b"\r\n", b"\xff", b"a\0b"):
        with pytest.raises(MultipartError, match=f"1 to {MAX_BOUNDARY} visible"):
            MultipartParser(boundary, Collected())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", (b"", {})),
        (b" Form-Data ", (b"form-data", {})),
        (b"form-data; name=a", (b"form-data", {b"name": b"a"})),
        (b'form-data ;NAME = "a;b" ;; filename="";', (b"form-data", {b"name": b"a;b", b"filename": b""})),
        (rb'x; a="\"\\\z"', (b"x", {b"a": rb'"\\z'})),
        (rb'x; a="C:\dir\"; b="\"', (b"x", {b"a": rb"C:\dir" + b"\\", b"b": b"\\"})),
        (b"x; a= b c ", (b"x", {b"a": b"b c"})),
        (b"x; a*=UTF-8''b; a=c", (b"x", {b"a": b"c"})),
        (b'x; a="\xc3\xbc"', (b"x", {b"a": b"\xc3\xbc"})),
        (b'x; a="', None),
        (b'x; a="b"c', None),
        (b"x; a", None),
        (b"x; =a", None),
        (b"x; a=1; A=2", None),
    ],
)
def test_parameters(value: bytes, expected: object) -> None:
    assert parse_parameters(value) == expected
