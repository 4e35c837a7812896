"""Any event comes back from each mode as it was sent."""

from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from tests.cloudevents.strategies import events, texts
from tiny_listener.cloudevents import (
    ABSENT,
    CloudEvent,
    InvalidCloudEvent,
    from_http,
    from_http_batch,
    from_json,
    from_json_batch,
    from_nats,
    to_http,
    to_http_batch,
    to_json,
    to_json_batch,
    to_nats,
)
from tiny_listener.cloudevents.header_fields import decode_value, encode_value
from tiny_listener.cloudevents.http_binding import body_of


def as_headers(event: CloudEvent) -> CloudEvent:
    """Return what the binary modes make of an event: values are texts, data of other types bytes, its type is said."""
    kind, data = event.datacontenttype, event.data if event.has_data else ABSENT
    if kind is None and event.has_data and not isinstance(data, bytes):
        kind = "application/json"
    if event.has_data and (kind is None or not event.is_json or isinstance(data, bytes)):
        data = body_of(event) or ABSENT
    return event.replace(
        data=data, datacontenttype=kind, extensions={name: event.attributes[name] for name in event.extensions}
    )


def holds_json(event: CloudEvent) -> bool:
    """Whether bytes that are said to be JSON are no such: they are refused when they are read."""
    return isinstance(event.data, bytes) and event.datacontenttype is not None and event.is_json


@given(events())
def test_json(event: CloudEvent) -> None:
    assert from_json(to_json(event)) == event
    assert from_http(*to_http(event, "structured")) == event
    assert from_nats(*to_nats(event, "structured")) == event


@given(st.lists(events(), max_size=4))
def test_batches(several: list[CloudEvent]) -> None:
    assert from_json_batch(to_json_batch(several)) == several
    assert from_http_batch(*to_http_batch(several)) == several


@given(events().filter(lambda event: not holds_json(event)))
def test_header_fields(event: CloudEvent) -> None:
    expected = as_headers(event)
    http, nats = to_http(event), to_nats(event)
    for value in (*(value for name, value in http.headers if name != "content-type"), *nats.headers.values()):
        assert value.isascii()
        assert not set(value) & set(' "\r\n')
    assert from_http(*http) == expected
    assert from_nats(*nats) == expected
    assert from_http(*http).dedup_id == event.dedup_id


@given(events().filter(lambda event: not holds_json(event)))
def test_from_http_to_nats_and_back(event: CloudEvent) -> None:
    once = from_http(*to_http(event))
    assert from_http(*to_http(from_nats(*to_nats(once)))) == once
    assert from_json(to_json(from_nats(*to_nats(once, "structured")))) == once


@given(texts)
@example('"%20')
def test_a_value_is_decoded_to_what_was_encoded(text: str) -> None:
    assert decode_value("x", encode_value(text)) == text
    assert decode_value("x", "".join(f"%{byte:02x}" for byte in text.encode())) == text
    quoted = encode_value(text).replace("\\", "\\\\")
    assert decode_value("x", f'"{quoted}"') == text


@given(st.text(max_size=60))
@example('"' + "\\" * 50)
def test_any_value_is_decoded_or_refused(text: str) -> None:
    refusal, decoded = "", None
    try:
        decoded = decode_value("x", text)
    except InvalidCloudEvent as error:
        refusal = str(error)
    assert refusal.isprintable()
    if decoded is not None:
        assert decode_value("x", encode_value(decoded)) == decoded


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_body_is_an_event_or_refused(body: bytes) -> None:
    for read in (from_json, from_json_batch):
        with contextlib.suppress(InvalidCloudEvent):
            read(body)
