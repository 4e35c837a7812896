"""Attributes of a CloudEvent: what the core specification requires, both sides of each limit."""

from __future__ import annotations

import datetime as dt
import re
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from tiny_listener import EventDataError
from tiny_listener.cloudevents import ABSENT, CloudEvent, InvalidCloudEvent, to_json
from tiny_listener.errors import ListenerError

AT = dt.datetime(2026, 11, 28, 9, 30, tzinfo=dt.UTC)
SOURCES = [
    "https://github.com/cloudevents", "mailto:cncf@lists.cncf.io", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
    "/sensors/tn-1234567/alerts", "1-555-123-4567", "a/b:c", "?q", "#f", "//host/path", "https://u:p@[::1]:80/a?b#c",
    "x:", "%C3%BC",
]  # fmt: skip


def event(**arguments: Any) -> CloudEvent:
    return CloudEvent(**{"type": "com.example.placed", "source": "/orders", "id": "1", **arguments})


def refused(match: str, **arguments: Any) -> None:
    with pytest.raises(InvalidCloudEvent, match=match) as raised:
        event(**arguments)
    assert isinstance(raised.value, (ListenerError, ValueError))
    assert raised.value.is_rejection
    assert "\n" not in str(raised.value)


def test_required_attributes_are_there() -> None:
    given = {"specversion": "1.0", "id": "1", "source": "/", "type": "t"}
    assert CloudEvent.from_attributes(given).attributes == given
    for name in given:
        for left in ({k: v for k, v in given.items() if k != name}, {**given, name: None}):
            with pytest.raises(InvalidCloudEvent, match=f"lacks {name}, which every event has"):
                CloudEvent.from_attributes(left)
    with pytest.raises(InvalidCloudEvent, match="lacks specversion and id and source and type"):
        CloudEvent.from_attributes({})


def test_an_id_is_made_where_none_is_given() -> None:
    assert CloudEvent("t", "/").id != CloudEvent("t", "/").id
    assert CloudEvent("t", "/").time is None


@pytest.mark.parametrize("name", ["id", "source", "type", "subject", "datacontenttype", "dataschema", "time"])
def test_texts_are_not_empty(name: str) -> None:
    refused(f"{name} must ", **{name: ""})
    refused(f"{name} must be a string, not int: '5'", **{name: 5})


@pytest.mark.parametrize("version", ["0.3", "1.0.2", "1", "", 1.0, None])
def test_the_version_is_1_0(version: Any) -> None:
    refused(r"specversion must be '1\.0'", specversion=version)


@pytest.mark.parametrize(
    "text",
    [
        "a\0",
        "\x1f",
        "a\nb",
        "\x7f",
        "\x9f",
        "\ud800",
        "\ufdd0",
        "\ufdef",
        "\uffff",
        "\U0001fffe",
        "\U0010ffff",
    ],
)
def test_strings_have_no_control_characters(text: str) -> None:
    for name in ("id", "type", "subject"):
        refused(f"{name} has the character U\\+{ord(text.strip('ab')):04X}", **{name: text})
    refused("note has the character", extensions={"note": text})
    edges = " ~\xa0\ufdcf\ufdf0\ufffd\U0001fffd\U00010000"
    assert event(subject=edges, extensions={"note": ""}).subject == edges


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_is_a_uri_reference(source: str) -> None:
    assert event(source=source).source == source


@pytest.mark.parametrize(
    "source", ["a b", "1:2", "/ü", "/%", "/%4", "/%zz", "http://[x]/", "a#b#c", "/<", "[", "//a:b/"]
)
def test_what_is_no_uri_reference_is_refused(source: str) -> None:
    refused(r"source must be a URI-reference \(RFC 3986\)", source=source)


def test_a_dataschema_is_a_uri() -> None:
    assert event(dataschema="https://example.com/order.json#/x").dataschema is not None
    for wrong in ("/order.json", "order.json", "https://exa mple.com", "://x", "1a:b"):
        refused("dataschema must be a URI with a scheme", dataschema=wrong)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-28T09:30:00Z", AT),
        ("2026-11-28t09:30:00z", AT),
        ("2026-11-28T15:00:00+05:30", AT),
        ("2026-11-27T22:30:00.000-11:00", AT),
        ("2026-11-28T09:30:00.1234567899Z", AT.replace(microsecond=123456)),
        ("2016-12-31T23:59:60Z", dt.datetime(2016, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC)),
        ("2024-02-29T00:00:00Z", dt.datetime(2024, 2, 29, tzinfo=dt.UTC)),
    ],
)
def test_a_time_is_one_of_rfc_3339(text: str, at: dt.datetime) -> None:
    assert (event(time=text).time, event(time=text).timestamp) == (text, at)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-28", "2026-11-28T09:30:00", "2026-11-28 09:30:00Z", "2026-11-28T09:30Z", "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-11-31T00:00:00Z", "2026-11-28T24:00:00Z",
        "2026-11-28T09:60:00Z", "2026-11-28T09:30:60Z", "2026-11-28T09:30:00.Z", "2026-11-28T09:30:00+24:00",
        "2026-11-28T09:30:00+01:60", "2026-11-28T09:30:00+0100", "٢026-11-28T09:30:00Z", "20261128T093000Z", "now",
    ],
)  # fmt: skip
def test_another_time_is_refused(text: str) -> None:
    refused("time must be a time of RFC 3339", time=text)


def test_a_datetime_is_a_time() -> None:
    assert event(time=AT).time == "2026-11-28T09:30:00Z"
    assert event(time=AT.astimezone(dt.timezone(dt.timedelta(hours=-1)))).time == "2026-11-28T08:30:00-01:00"
    odd = dt.timezone(dt.timedelta(minutes=19, seconds=32))
    assert event(time=AT.astimezone(odd)).timestamp == AT
    refused("which is in no year from 1 to 9999 in UTC", time=dt.datetime(1, 1, 1, tzinfo=odd))
    assert event().timestamp is None
    refused("time must have a time zone", time=AT.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("kind", "is_json"),
    [
        ("application/json", True), ("TEXT/Json;CharSet=utf-8", True), ("application/problem+JSON", True),
        ("application/json ; charset=utf-8;", True), ("text/plain", False), ("application/jsonl", False),
        ('multipart/mixed; boundary="a \\" ;b"', False), ("application/json5+xml", False),
    ],
)  # fmt: skip
def test_a_datacontenttype_is_a_media_type(kind: str, is_json: bool) -> None:
    assert event(datacontenttype=kind).is_json is is_json
    assert event().is_json


@pytest.mark.parametrize(
    "kind", ["json", "/", "text/", "/plain", "text plain/x", "text/plain; a", 'a/b; c="d', "a/b;c=ü", "a/b, c/d"]
)
def test_what_is_no_media_type_is_refused(kind: str) -> None:
    refused(r"datacontenttype must be a media type \(RFC 2046\)", datacontenttype=kind)


def test_names_of_attributes() -> None:
    names = ["a", "0", "averylongnamethathasmorethan20characters"]
    assert list(event(extensions=dict.fromkeys(names, "x")).extensions) == names
    for name in ("", "A", "a-b", "a_b", "ä", "a.b", "٢", 5):
        refused("no name of an attribute: it has lower-case letters a-z and digits", extensions={name: "x"})
    refused("no attribute may have the name 'data'", extensions={"data": "x"})
    refused("id is no extension: give it as the argument id=", extensions={"id": "x"})


def test_the_types_of_attributes() -> None:
    given = {"b": True, "i": -5, "s": "x", "bytes": b"\0\xff", "at": AT, "none": None}
    one = event(extensions=given)
    assert one.extensions == {"b": True, "i": -5, "s": "x", "bytes": "AP8=", "at": "2026-11-28T09:30:00Z"}
    assert {name: one.attributes[name] for name in ("b", "i")} == {"b": "true", "i": "-5"}
    assert event(extensions={"b": False}).attributes["b"] == "false"
    for wrong in (1.5, [1], {"a": 1}, object()):
        refused("x must be a string, a whole number, a boolean, bytes or a datetime", extensions={"x": wrong})


def test_an_integer_has_32_bits() -> None:
    assert event(extensions={"least": -(2**31), "most": 2**31 - 1}).attributes["most"] == "2147483647"
    for wrong in (-(2**31) - 1, 2**31, 10**400):
        refused("n must be from -2147483648 to 2147483647", extensions={"n": wrong})


def test_extensions_that_are_understood() -> None:
    one = event(extensions={"partitionkey": "ann", "traceparent": "00-1", "tracestate": "a=b", "expirytime": AT})
    assert (one.partitionkey, one.traceparent, one.tracestate, one.expires) == ("ann", "00-1", "a=b", AT)
    assert event(extensions={"partitionkey": 7}).partitionkey == "7"
    none = event()
    assert (none.partitionkey, none.traceparent, none.tracestate, none.expires) == (None, None, None, None)
    for name in ("partitionkey", "traceparent"):
        refused(f"{name} must not be empty", extensions={name: ""})
    for wrong in ("tomorrow", 5, ""):
        refused("expirytime must", extensions={"expirytime": wrong})


def test_source_and_id_identify_an_event() -> None:
    one = event()
    assert one.dedup_id == event(type="other", subject="x").dedup_id
    assert re.fullmatch("[0-9a-f]{64}", one.dedup_id)
    assert len({one.dedup_id, event(id="2").dedup_id, event(source="/orders1").dedup_id}) == 3
    assert event(source="/a", id="b/c").dedup_id != event(source="/a/b", id="c").dedup_id
    assert hash(one) == hash(event(data=5))


def test_data_and_none_of_it() -> None:
    absent, null = event(), event(data=None)
    assert (absent.has_data, absent.data) == (False, None)
    assert (null.has_data, null.data) == (True, None)
    assert absent != null
    assert event(data=bytearray(b"x")).data == b"x"
    assert event(data=ABSENT) == absent
    wrong: list[Any] = [{}, 5, None, [1]]
    for data in wrong:
        refused("data of the type 'text/plain' must be bytes or a str", data=data, datacontenttype="text/plain")
    assert event(data="x", datacontenttype="text/plain").data == "x"


def test_an_event_cannot_be_changed() -> None:
    one = event(data=5, extensions={"a": "b"})
    with pytest.raises(AttributeError, match=r"event\.replace\(id=\.\.\.\) makes another"):
        one.id = "2"
    with pytest.raises(AttributeError, match="makes another"):
        del one.id
    with pytest.raises(TypeError):
        one.extensions["a"] = "c"  # type: ignore[index]
    assert one.replace(id="2") == event(data=5, extensions={"a": "b"}, id="2")
    assert one.replace(data=ABSENT) == event(extensions={"a": "b"})
    assert one != "another kind"
    assert repr(one) == "CloudEvent(type='com.example.placed', source='/orders', id='1')"
    with pytest.raises(InvalidCloudEvent, match="subject must not be empty"):
        one.replace(subject="")


def test_of_an_event_that_did_not_come_as_one() -> None:
    class Plain:
        attributes = MappingProxyType[str, str]({})
        payload = None
        route = type("Route", (), {"path": "order {n}"})

    with pytest.raises(EventDataError, match=r"'order \{n\}' did not come as a CloudEvent: app.listen_cloudevents"):
        CloudEvent.from_event(Plain())


def test_a_long_value_makes_a_short_message() -> None:
    with pytest.raises(InvalidCloudEvent) as raised:
        event(source="ü" * 100_000)
    assert len(str(raised.value)) < 600


def test_data_that_json_does_not_have() -> None:
    class Order(msgspec.Struct):
        total: int

    assert b'"data":{"total":5}' in to_json(event(data=Order(5)))
    for wrong in (object(), {1: object()}, "\udce9"):
        with pytest.raises(InvalidCloudEvent, match="data takes what msgspec encodes as JSON"):
            to_json(event(data=wrong))
