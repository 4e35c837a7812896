"""Conversion of texts: whatever the text, it becomes a value that stands for it, or a ValueError with one line."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import uuid
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_listener.core.injection.conversion import one_or_list, text_convertor, value_convertor, without_none


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


KINDS: list[Any] = [
    int, float, bool, str, uuid.UUID, Color, dt.date, dt.datetime, dt.time, dt.timedelta,
    decimal.Decimal, Literal["a", "b"], Literal[1, 2], Annotated[int, msgspec.Meta(ge=0, le=9)], int | str,
]  # fmt: skip

texts = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"[+-]?[0-9_.eE]{1,12}", fullmatch=True),
    st.sampled_from(["true", "ON", "red", "a", "1", "2026-11-28", "2026-11-28T10:00:00Z", "10:00:00", "P1D", "nan"]),
    st.uuids().map(str),
)


@given(st.sampled_from(KINDS), texts)
def test_any_text_is_converted_or_refused_in_one_line(kind: Any, text: str) -> None:
    convert = text_convertor(kind)
    assert convert is not None
    try:
        value = convert(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"\A.+\Z"):
            convert(text)
        return
    msgspec.convert(value, kind)  # it is of the type
    if kind is int:
        assert value == int(text)
    if kind is float:
        assert value == float(text)
        assert math.isfinite(value)


@given(st.integers(min_value=-(10**600), max_value=10**600))
def test_every_whole_number_is_read_back(number: int) -> None:
    convert = text_convertor(int)
    assert convert is not None
    assert convert(str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read_back(number: float) -> None:
    convert = text_convertor(float)
    assert convert is not None
    assert convert(repr(number)) == number


@given(st.lists(texts, max_size=4))
def test_a_list_is_that_of_its_texts(several: list[str]) -> None:
    found, one = one_or_list(list[int]), text_convertor(int)
    assert found is not None
    assert one is not None
    convert, takes_list = found
    assert takes_list
    try:
        expected = [one(text) for text in several]
    except ValueError:
        with pytest.raises(ValueError, match=r"value \d+ must be a whole number"):
            convert(several)
    else:
        assert convert(several) == expected


@pytest.mark.parametrize(
    ("annotation", "bare"),
    [
        (int | None, int),
        (None | int, int),
        (int | str | None, int | str),
        (Annotated[int | None, "x"], Annotated[int, "x"]),
        (int, int),
        (None, None),
        (type(None), type(None)),
    ],
)
def test_without_none(annotation: Any, bare: Any) -> None:
    assert without_none(annotation) == bare


@pytest.mark.parametrize(
    "kind", [dict[str, int], list[dict[str, int]], bytes, object, type, list, tuple[int, str], complex]
)
def test_what_no_text_stands_for(kind: Any) -> None:
    assert one_or_list(kind) is None


def test_values_are_checked() -> None:
    class Own:
        pass

    own = Own()
    assert value_convertor(Own)(own) is own
    with pytest.raises(ValueError, match="must be Own, not int"):
        value_convertor(Own)(3)
    assert value_convertor(set[int])([1, 1]) == {1}
    assert value_convertor(Any)(own) is own
