"""The data of published events: what can be sent, and what a typed handler gets."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.publishing.running import App
from tiny_listener import Data, Event, EventDataError, Listener, Retry
from tiny_listener.core.publishing.payload import decode_payload, encode_payload, items_of
from tiny_listener.http import HTTPListener
from tiny_listener.testing import EventClient

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


class Color(Enum):
    RED = "red"


class Line(msgspec.Struct):
    sku: str
    number: int = 1


class Order(msgspec.Struct):
    id: int
    lines: list[Line]
    at: dt.datetime
    due: dt.date
    by_line: dict[int, bytes]
    total: Decimal
    uuid: uuid.UUID
    color: Color = Color.RED


@dataclass
class Point:
    x: int
    y: int = 0


class Model(pydantic.BaseModel):
    name: str
    day: dt.date


ORDER = Order(
    7, [Line("a"), Line("b", 2)], dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC), dt.date(2026, 1, 2), {3: b"\xff"},
    Decimal("9.90"), uuid.UUID(int=7),
)  # fmt: skip


def sent(data: Any, handler: Callable[..., Any], kind: type[Listener[Any]] = App) -> EventClient:
    """Publish data to a handler."""
    app = kind()
    app.add_on_event_hook(handler, "it")
    with EventClient(app) as events:
        events.publish("it", data)
        events.run()
    return events


def got(data: Any) -> Any:
    """Return `event.payload`."""
    seen = []

    async def it(event: Event) -> None:
        seen.append(event.payload)
        assert event.data == items_of(event.payload)

    sent(data, it)
    return seen[0]


@given(JSON)
def test_json_comes_back_as_it_was(data: Any) -> None:
    encoded, is_json = encode_payload(data)
    assert is_json
    assert decode_payload(encoded, is_json=is_json) == data


@settings(max_examples=20)
@given(st.binary(max_size=100))
def test_bytes_come_back_as_they_were(data: bytes) -> None:
    assert got(data) == got(bytearray(data)) == got(memoryview(data)) == data


@pytest.mark.parametrize(
    ("data", "payload", "items"),
    [
        (None, None, {}),
        ({"a": 1}, {"a": 1}, {"a": 1}),
        ([1, "b"], [1, "b"], {"data": [1, "b"]}),
        ("text", "text", {"data": "text"}),
        (0, 0, {"data": 0}),
        ((1, 2), [1, 2], {"data": [1, 2]}),
        (b"\x00\xff", b"\x00\xff", {"data": b"\x00\xff"}),
        (Point(1), {"x": 1, "y": 0}, {"x": 1, "y": 0}),
        (Model(name="n", day=dt.date(2026, 1, 2)), {"name": "n", "day": "2026-01-02"}, None),
        ({"m": [Model(name="n", day=dt.date(2026, 1, 2))]}, {"m": [{"name": "n", "day": "2026-01-02"}]}, None),
        ({"a": 2**64, "b": -(2**63) - 1}, {"a": 2**64, "b": -(2**63) - 1}, None),
    ],
)
def test_plain_handlers(data: Any, payload: Any, items: Any) -> None:
    assert got(data) == payload
    assert items is None or items_of(payload) == items


@pytest.mark.parametrize("kind", [App, HTTPListener])
def test_typed_handlers_get_what_was_sent(kind: type[Listener[Any]]) -> None:
    seen: list[Any] = []

    async def of_struct(order: Order) -> None:
        seen.append(order)

    async def of_dataclass(point: Point) -> None:
        seen.append(point)

    async def of_list(data: Annotated[list[Line], Data]) -> None:
        seen.append(data)

    cases: list[tuple[Any, Callable[..., Any]]] = [
        (ORDER, of_struct),
        (Point(1, 2), of_dataclass),
        ([Line("a")], of_list),
    ]
    for data, handler in cases:
        assert sent(data, handler, kind).dead == []
    assert seen == [data for data, _ in cases]


def test_models_of_pydantic_come_back_in_an_application_of_requests() -> None:
    seen = []

    async def it(model: Model) -> None:
        seen.append(model)

    model = Model(name="n", day=dt.date(2026, 1, 2))
    assert sent(model, it, HTTPListener).dead == []
    assert seen == [model]
    (letter,) = sent({"name": 7}, it, HTTPListener).dead
    assert letter.reason == "undecodable"


@pytest.mark.parametrize("kind", [App, HTTPListener])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"id": "x"}, "id"),
        ({"id": 2**70 % 2**63, "lines": []}, "missing"),
        (None, "Expected `object`"),
        (b"\x00", "Expected `object`"),
        ([1], "Expected `object`"),
    ],
)
def test_data_of_another_type_is_final_at_once(data: Any, text: str, kind: type[Listener[Any]]) -> None:
    app = kind()

    @app.on_event("it", retry=Retry(max_attempts=5))
    async def it(order: Order) -> None:
        pytest.fail("it was called")

    with EventClient(app) as events:
        events.publish("it", data)
        events.run()
        (letter,) = events.dead
    assert (letter.reason, letter.attempts, letter.error) == ("undecodable", 1, EventDataError.__name__)
    assert text in letter.text
    assert letter.data == data


@pytest.mark.parametrize("data", [b"{", b'"\xff"', b"[" * 100_000, b"9" * 5000, b""])
def test_data_that_is_no_json_is_final_at_once(data: bytes) -> None:
    app = App()

    @app.on_event("it", retry=Retry())
    async def it() -> None: ...

    with EventClient(app) as events:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tiny_listener.core.publishing.publisher.encode_payload", lambda data: (data, True))
            events.publish("it", data)
        events.run()
        (letter,) = events.dead
    assert (letter.reason, letter.attempts, letter.data) == ("undecodable", 1, data)


class Odd:
    """Has no form in JSON."""


class Lazy:
    def model_dump(self, *, mode: str) -> Any:
        raise RuntimeError(f"no {mode}")


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (Odd(), TypeError, "msgspec encodes as JSON.*Odd"),
        ({"a": [Odd()]}, TypeError, "Odd has no form in JSON"),
        pytest.param(10**5000, ValueError, "JSON cannot hold", id="digits"),
        ("\ud800", ValueError, "JSON cannot hold"),
        ({"\ud800": 1}, ValueError, "JSON cannot hold"),
        ({Odd(): 1}, TypeError, "msgspec encodes"),
        (lambda: None, TypeError, "function has no form"),
        (Lazy(), RuntimeError, "no json"),
    ],
)
def test_what_has_no_form_in_json(data: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        encode_payload(data)


def test_data_that_contains_itself() -> None:
    data: list[Any] = []
    data.append(data)
    with pytest.raises(ValueError, match="JSON cannot hold"):
        encode_payload(data)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1), st.uuids())
@settings(max_examples=30)
def test_named_events_have_any_values(text: str, number: int, one: uuid.UUID) -> None:
    seen: list[Any] = []
    app = App()

    @app.on_event("a/{text} b/{number:int}/{one:uuid}")
    async def it(text: str, number: int, one: uuid.UUID) -> None:
        seen.append((text, number, one))

    with EventClient(app) as events:
        events.publish(app.event("a/{text} b/{number:int}/{one:uuid}", text=text, number=number, one=one), key="k")
        events.run()
        assert events.dead == []
    assert seen == [(text, number, one)]
