"""The decoder of urlencoded forms: what the standard library makes of them, in steps of bounded work."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_listener.http.body import urlencoded
from tiny_listener.http.body.urlencoded import STEP, TooLongError, TooManyError, UrlencodedParser

ATOMS = [
    b"&",
    b"=",
    b"+",
    b"%",
    b"%4",
    b"%41",
    b"%3d",
    b"%26",
    b"%2B",
    b"%25",
    b"%zz",
    b"%0d%0A",
    b"%00",
    b"a",
    b" \n",
    b"\t\r\n",
    b"_",
    "ü".encode(),
    b"\xc3",
    b"\xbc",
    b"%C3",
    b"%bc",
    "€".encode()[:2],
    b"%E2%82%AC",
    "𝄞".encode(),
    b"%f0%9d",
    b"%ff",
    b"\xff",
    b"%ed%a0%80",
    b"\0",
]
bodies = st.lists(st.sampled_from(ATOMS) | st.binary(max_size=3), max_size=40).map(b"".join)


def parse(body: bytes, max_fields: int = 10**6, max_field_size: int = 10**9) -> list[tuple[str, str]]:
    parser = UrlencodedParser(max_fields, max_field_size)
    for _ in parser.steps(body):
        pass
    return parser.pairs


@given(bodies, st.sampled_from([1, 2, 3, 5, STEP]))
def test_it_decodes_as_the_standard_library(body: bytes, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urlencoded, "STEP", step)
        assert parse(body) == parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


@given(st.lists(st.sampled_from(ATOMS), min_size=1, max_size=4).map(b"".join), st.integers(0, 2 * STEP))
def test_whatever_is_repeated_is_decoded_as_the_standard_library_does(atom: bytes, shift: int) -> None:
    body = b"x" * shift + atom * (3 * STEP // len(atom))
    assert parse(body) == parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


@pytest.mark.parametrize("atom", [*ATOMS, b"a=b&", b"a&"])
def test_no_step_reads_more_than_its_bytes(atom: bytes) -> None:
    class Measured(bytes):
        """Knows how much was read of it at most in one step."""

        read = most = 0

        def count(self, sub: bytes, start: int, end: int) -> int:  # type: ignore[override]
            self.read += end - start
            return super().count(sub, start, end)

        def __getitem__(self, key: slice) -> bytes:  # type: ignore[override]
            piece = super().__getitem__(key)
            self.read += len(piece)
            return piece

    body = Measured(atom * (10 * STEP // len(atom)))
    steps = 0
    for _ in UrlencodedParser(10**6, 10**9).steps(body):
        steps += 1
        body.most, body.read = max(body.most, body.read), 0
    assert body.most <= STEP
    assert steps == 2 * -(-len(body) // STEP)


@pytest.mark.parametrize("letter", [b"x", b"%41", b"+", b"%", b"\xff", b"%ff", b"%zz"])
@pytest.mark.parametrize("size", [0, 1, 7, STEP, 3 * STEP])
def test_the_size_of_a_field_is_that_of_its_decoded_bytes(letter: bytes, size: int) -> None:
    one = 3 if letter == b"%zz" else 1
    for form in (b"x=%s&y", b"%s=x&y", b"%s&y"):
        limit = max(size * one, 1)
        assert parse(form % (letter * size), max_field_size=limit)
        with pytest.raises(TooLongError):
            parse(form % (letter * (limit + 1)), max_field_size=limit)


@pytest.mark.parametrize("field", [b"", b"a", b"a=1", b"=", b"x" * 50])
def test_fields_are_counted_before_anything_is_decoded(field: bytes) -> None:
    fields = 2 * STEP + 1
    assert len(parse(b"&".join([field] * fields), fields)) == (fields if field else 0)
    parser = UrlencodedParser(fields, 0)
    with pytest.raises(TooManyError):
        list(parser.steps(b"&".join([field] * (fields + 1))))
    assert parser.pairs == []
