"""The official SDK as a second opinion: each reads what the other writes. Where it differs is written down below."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as Theirs
from hypothesis import given
from hypothesis import strategies as st

from tests.cloudevents.samples import FIELDS
from tests.cloudevents.strategies import names, sources, texts
from tiny_listener.cloudevents import ABSENT, CloudEvent, InvalidCloudEvent, from_http, to_http
from tiny_listener.cloudevents.event import REQUIRED

JSON = JSONFormat()
objects = st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(-9, 9) | st.booleans(), min_size=1)
payloads: st.SearchStrategy[tuple[Any, str]] = st.one_of(
    st.tuples(objects, st.sampled_from(["application/json", "application/vnd.order+json"])),
    st.tuples(st.binary(min_size=1, max_size=30), st.just("application/octet-stream")),
)


@st.composite
def events(draw: st.DrawFn) -> CloudEvent:
    """Draw an event of the kind that both know."""
    data, kind = draw(payloads)
    return CloudEvent(
        draw(texts), draw(sources), data, id=draw(texts), time=draw(st.datetimes(timezones=st.just(dt.UTC))),
        subject=draw(st.none() | texts), datacontenttype=kind,
        extensions=draw(st.dictionaries(names, texts, max_size=3)),
    )  # fmt: skip


def attributes_of(theirs: Any) -> dict[str, str]:
    """Return the attributes that the SDK has read, as texts."""
    given = {name: value for name, value in theirs.get_attributes().items() if value is not None}
    time: dt.datetime = given.pop("time")
    return {**given, "time": time.isoformat().replace("+00:00", "Z")}


def as_theirs(event: CloudEvent) -> Any:
    return Theirs({**event.attributes, "time": event.timestamp}, event.data)


@given(events(), st.sampled_from(["binary", "structured"]))
def test_the_sdk_reads_what_we_write(event: CloudEvent, mode: Any) -> None:
    headers, body = to_http(event, mode)
    theirs = sdk.from_http(sdk.HTTPMessage(dict(headers), body), JSON)
    assert attributes_of(theirs) == event.attributes
    data = theirs.get_data()  # in the binary mode bytes of ASCII are a text to it
    assert (data.encode() if isinstance(data, str) else data) == event.data


@given(events())
def test_we_read_what_the_sdk_writes(event: CloudEvent) -> None:
    for write in (sdk.to_binary, sdk.to_structured):
        message = write(as_theirs(event), JSON)
        ours = from_http(message.headers, message.body)
        assert (ours.attributes, ours.data) == (event.attributes, event.data)


@given(events())
def test_both_write_the_same_headers(event: CloudEvent) -> None:
    assert dict(to_http(event).headers) == sdk.to_binary(as_theirs(event), JSON).headers


@pytest.mark.parametrize("name", REQUIRED)
def test_both_refuse_what_lacks_an_attribute(name: str) -> None:
    fields = {key: value for key, value in FIELDS.items() if key != f"ce-{name}"}
    with pytest.raises(InvalidCloudEvent, match=f"lacks {name}"):
        from_http(fields, b"")


def test_where_the_sdk_differs() -> None:
    """Section 3.1.3.2 of the HTTP binding: quotes MUST be undone, escapes that are no UTF-8 MUST be refused."""
    quoted = {**FIELDS, "ce-subject": '"a b"'}
    assert from_http(quoted, b"").subject == "a b"
    assert sdk.from_binary(sdk.HTTPMessage(quoted, b""), JSON).get_attributes()["subject"] == '"a b"'
    wrong = {**FIELDS, "ce-subject": "%C0%A0"}
    with pytest.raises(InvalidCloudEvent, match="not UTF-8"):
        from_http(wrong, b"")
    assert sdk.from_binary(sdk.HTTPMessage(wrong, b""), JSON).get_attributes()["subject"] == "\ufffd\ufffd"
    assert from_http(FIELDS, b"") == CloudEvent("t", "/s", ABSENT, id="1")
