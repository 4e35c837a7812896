"""The JSON format and the JSON batch format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tiny_listener.cloudevents import (
    CloudEvent,
    InvalidCloudEvent,
    from_json,
    from_json_batch,
    iter_json_batch,
    to_http,
    to_json,
    to_json_batch,
)

BASE = {"specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext", "id": "D234-1234-1234"}
ATTRIBUTES = {
    **BASE, "time": "2018-04-05T17:31:00Z", "comexampleextension1": "value", "comexampleothervalue": 5,
}  # fmt: skip
EXAMPLES: list[tuple[dict[str, Any], str | None, bytes]] = [
    (
        {**ATTRIBUTES, "datacontenttype": "application/vnd.apache.thrift.binary", "data_base64": "AAH/"},
        "application/vnd.apache.thrift.binary",
        b"\0\1\xff",
    ),
    (
        {**ATTRIBUTES, "unsetextension": None, "datacontenttype": "application/xml", "data": '<much wow="xml"/>'},
        "application/xml",
        b'<much wow="xml"/>',
    ),
    (
        {**ATTRIBUTES, "subject": None, "datacontenttype": "application/json", "data": {"appinfoA": "abc"}},
        "application/json",
        b'{"appinfoA":"abc"}',
    ),
    ({**ATTRIBUTES, "datacontenttype": "application/json", "data": 1.5}, "application/json", b"1.5"),
    ({**ATTRIBUTES, "subject": None, "data": "I'm just a string"}, "application/json", b'"I\'m just a string"'),
    ({**BASE, "data_base64": "eyAieHl6IjogMTIzIH0="}, None, b'{ "xyz": 123 }'),
]
"""Those of section 3.2, with what each is in the binary mode of HTTP."""

VALUES: list[Any] = [None, True, 5, "a string", '{"not": "parsed again"}', {"a": [1, {}]}, []]


def parse(**members: Any) -> CloudEvent:
    return from_json(json.dumps({**BASE, **members}))


@pytest.mark.parametrize(("members", "kind", "body"), EXAMPLES)
def test_the_examples_of_the_specification(members: dict[str, Any], kind: str | None, body: bytes) -> None:
    event = from_json(json.dumps(members))
    message = to_http(event)
    assert (dict(message.headers).get("content-type"), message.body) == (kind, body)
    there = {name: value for name, value in members.items() if value is not None}
    assert json.loads(to_json(event)) == there


def test_a_null_attribute_is_an_absent_one() -> None:
    assert parse(subject=None, time=None, any=None) == parse()
    assert parse(data_base64=None) == parse()
    with pytest.raises(InvalidCloudEvent, match="lacks id"):
        parse(id=None)


def test_data_is_the_value_itself() -> None:
    for kind in ({}, {"datacontenttype": "application/json"}, {"datacontenttype": "Text/Vnd.x+JSON; a=b"}):
        for value in VALUES:
            event = parse(data=value, **kind)
            assert event.has_data
            assert event.data == value
            assert json.loads(to_json(event))["data"] == value


def test_no_datacontenttype_is_added() -> None:
    assert "datacontenttype" not in json.loads(to_json(parse(data={"a": 1})))
    assert parse(data={"a": 1}).datacontenttype is None
    assert parse(data_base64="AA==").datacontenttype is None


def test_data_of_another_type_is_a_text() -> None:
    assert parse(data="<a/>", datacontenttype="application/xml").data == "<a/>"
    with pytest.raises(InvalidCloudEvent, match="data of the type 'application/xml' must be bytes or a str, not dict"):
        parse(data={}, datacontenttype="application/xml")


def test_binary_data_is_base64() -> None:
    event = parse(data_base64="AAH/", datacontenttype="application/json")
    assert event.data == b"\0\1\xff"
    assert json.loads(to_json(event))["data_base64"] == "AAH/"
    assert "data" not in json.loads(to_json(event))
    for wrong in ("AAH", "A A=", "AA-_", "ä", 5, ["AA=="]):
        with pytest.raises(InvalidCloudEvent, match="data_base64 must be"):
            parse(data_base64=wrong)


def test_there_is_one_kind_of_data() -> None:
    for data in ("x", None):
        with pytest.raises(InvalidCloudEvent, match="data or data_base64, not both"):
            parse(data=data, data_base64="AA==")


def test_extensions_are_members_with_their_types() -> None:
    event = parse(flag=True, count=-5, text="x")
    assert event.extensions == {"flag": True, "count": -5, "text": "x"}
    assert json.loads(to_json(event)) == {**BASE, "flag": True, "count": -5, "text": "x"}
    values: list[Any] = [1.0, 1e3, [], {}]
    for wrong in values:
        with pytest.raises(InvalidCloudEvent, match="count must be a string, a whole number"):
            parse(count=wrong)
    with pytest.raises(InvalidCloudEvent, match="count must be from"):
        parse(count=2**31)
    for name in ("A", "a_b", ""):
        with pytest.raises(InvalidCloudEvent, match="no name of an attribute"):
            parse(**{name: "x"})


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", "null", '"x"', "[" * 100_000, '{"a":' * 100_000, "{'a': 1}", "NaN"]
)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(InvalidCloudEvent, match="CloudEvent"):
        from_json(text)


def test_bytes_are_utf_8() -> None:
    assert from_json(json.dumps({**BASE, "subject": "ü"}, ensure_ascii=False).encode()).subject == "ü"
    assert from_json(json.dumps({**BASE, "subject": "\U0001f600"})).subject == "\U0001f600"
    with pytest.raises(InvalidCloudEvent, match="is not what it says, JSON"):
        from_json(json.dumps({**BASE, "subject": "ü"}, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(InvalidCloudEvent):
        from_json(json.dumps({**BASE, "subject": "\udead"}))


def test_a_batch_is_an_array() -> None:
    events = [parse(id=str(n), data=n) for n in range(3)]
    assert from_json_batch(to_json_batch(events)) == events
    assert to_json_batch([]) == b"[]"
    assert from_json_batch(b" [ ] ") == []


@pytest.mark.parametrize("text", ["{}", "5", "null", "", "[", "[1,]", '[{"id": }]', "[" * 100_000])
def test_what_is_no_batch_is_refused(text: str) -> None:
    with pytest.raises(InvalidCloudEvent, match="batch"):
        from_json_batch(text)


def test_an_element_that_is_wrong_is_numbered() -> None:
    good = to_json(parse()).decode()
    for wrong, why in (
        ("5", "in JSON is an object"),
        ("{}", "lacks specversion"),
        (good.replace("1.0", "2"), "specversion"),
    ):
        with pytest.raises(InvalidCloudEvent, match=f"event 2 of the batch: .*{why}"):
            from_json_batch(f"[{good}, {wrong}, {good}]")


def test_a_batch_is_read_one_after_the_other() -> None:
    batch = iter_json_batch(f"[{to_json(parse()).decode()}, 5]")
    assert next(batch) == parse()
    with pytest.raises(InvalidCloudEvent, match="event 2"):
        next(batch)
