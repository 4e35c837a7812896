"""Events as messages, and back."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_listener.cloudevents import from_nats
from tiny_listener.events.envelope import Envelope
from tiny_listener.nats.wire import NoEvent, envelope_of, headers_of

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
NAME = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    key = draw(st.none() | TEXT.filter(bool))
    return Envelope(
        id=draw(TEXT.filter(bool)),
        path=draw(TEXT),
        route=draw(TEXT.filter(bool)),
        data=draw(st.binary(max_size=100)),
        published_at=draw(st.floats(0, 4e9)),
        key=key,
        serial=draw(st.booleans()) if key is not None else True,
        is_json=draw(st.booleans()),
        params=draw(st.none() | st.dictionaries(TEXT, TEXT, max_size=3)),
        cid=draw(st.none() | TEXT.filter(bool)),
        expires=draw(st.none() | st.floats(0, 4e9)),
        attributes=draw(st.dictionaries(NAME | TEXT, TEXT, max_size=4)),
    )


@given(envelopes())
def test_an_event_comes_back_as_it_was(envelope: Envelope) -> None:
    headers = headers_of(envelope, "shop")
    for name, value in headers.items():
        assert name.isascii()
        assert value.isascii()
        assert value.isprintable(), "no line can end here"
        assert value.strip() == value
    assert envelope_of(headers, envelope.data) == envelope
    # A server may give names in another case.
    assert envelope_of({name.title(): value for name, value in headers.items()}, envelope.data) == envelope


@pytest.mark.parametrize("key", ["a\u00a0b", 'ü %41"', " ", "\u2028"])
def test_it_is_a_cloud_event(key: str) -> None:
    envelope = Envelope("1", "order/7 placed", "order/{id} placed", b'{"a":1}', time.time(), key)
    event = from_nats(headers_of(envelope, "shop"), envelope.data)
    assert (event.id, event.type, event.source) == ("1", "order/{id} placed", "/tiny-listener/shop")
    assert event.partitionkey == key
    assert event.data == {"a": 1}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ce-id": None}, "no header field ce-id"),
        ({"ce-tlpath": None}, "no header field ce-tlpath"),
        ({"ce-tlat": "soon"}, "could not convert"),
        ({"ce-tlparams": "[1]"}, "no object of texts"),
        ({"ce-tlmore": "{"}, "Expecting"),
        ({"ce-partitionkey": "%ff"}, "UTF-8"),
        ({"ce-id": "%4"}, "percent sign"),
    ],
)
def test_what_is_no_event_of_ours_says_why(change: dict[str, str | None], why: str) -> None:
    headers = {**headers_of(Envelope("1", "p", "p", b"1", 1.0, "k"), "shop"), **change}
    fields = {name: value for name, value in headers.items() if value is not None}
    with pytest.raises(NoEvent, match=why):
        envelope_of(fields, b"1")


def test_a_message_without_header_is_no_event() -> None:
    with pytest.raises(NoEvent):
        envelope_of(None, b"")
