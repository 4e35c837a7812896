"""NaN and infinity, which JSON does not have."""

from __future__ import annotations

import dataclasses
import math
from collections import namedtuple
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.publishing.running import App
from tiny_listener import RemoteError
from tiny_listener.core.publishing.payload import encode_payload
from tiny_listener.testing import EventClient


class Struct(msgspec.Struct):
    value: Any
    rest: Any = None


class Row(msgspec.Struct, array_like=True):
    value: Any
    rest: Any = None


@dataclasses.dataclass
class Data:
    value: Any
    rest: Any = None


class Model(pydantic.BaseModel):
    value: float


Named = namedtuple("Named", "value rest")  # noqa: PYI024 - of the standard library

BY_NAME = "['value']"
WRAPS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda value: [None, value], "[1]"),
    (lambda value: (value, None), "[0]"),
    (lambda value: {"nullable": None, "it's": value}, '["it\'s"]'),
    (lambda value: {7: value}, "['7']"),
    (lambda value: Named(value, None), "[0]"),
    (lambda value: Row(value, b"\xcb\x7f\xf8"), "[0]"),
    (Struct, BY_NAME),
    (lambda value: Struct(value, msgspec.Raw(b"null")), BY_NAME),
    (Data, BY_NAME),
    (lambda value: Data(value, 2**70), BY_NAME),
    (lambda value: Model(value=value) if isinstance(value, float) else Struct(value), BY_NAME),
]
NOT_FINITE = st.sampled_from([math.nan, -math.nan, math.inf, -math.inf])
FINE = st.sampled_from([
    None, 0.0, -1.5, 1.7976931348623157e308, 5e-324, "null", "NaN", b"\xcb\x7f\xf8\0", Decimal("NaN"), True, 2**64 - 1,
])  # fmt: skip


@given(NOT_FINITE, st.lists(st.sampled_from(WRAPS), max_size=5))
def test_what_is_not_finite_is_refused_wherever_it_is(
    number: float, wraps: list[tuple[Callable[[Any], Any], str]]
) -> None:
    data: Any = number
    where = ""
    for wrap, step in wraps:
        data, where = wrap(data), step + where
    with pytest.raises(ValueError, match="JSON has no such number: give None or a text instead") as caught:
        encode_payload(data)
    assert str(caught.value).startswith(f"data= has {number}{where and f' at {where}'}, and JSON")


@given(FINE, st.lists(st.sampled_from(WRAPS), max_size=5))
def test_everything_else_is_taken(value: Any, wraps: list[tuple[Callable[[Any], Any], str]]) -> None:
    for wrap, _ in wraps:
        value = wrap(value)
    if not isinstance(value, bytes):
        assert encode_payload(value)[1]


def test_it_is_refused_where_it_is_published_or_returned() -> None:
    app = App()

    @app.on_event("it")
    async def it() -> Any:
        return {"price": math.nan}

    with EventClient(app) as events:
        with pytest.raises(ValueError, match=r"^data= has inf at \['price'\], and JSON has no such number"):
            events.publish("it", {"price": math.inf})
        with pytest.raises(RemoteError, match=r"^ValueError: the result has nan at \['price'\], and JSON"):
            events.request("it")
