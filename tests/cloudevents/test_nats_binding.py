"""The NATS binding: two modes, and the way from HTTP to NATS and back."""

from __future__ import annotations

import pytest

from tests.cloudevents.samples import EURO, EVENT, FIELDS
from tiny_listener.cloudevents import InvalidCloudEvent, UnknownFormat, from_nats, to_json, to_nats

EVENT_OF_ALL = EVENT.replace(
    data={"a": 1}, datacontenttype="application/json; charset=utf-8", subject=EURO, extensions={"n": 5, "tlpath": "a b"}
)


def test_binary_mode() -> None:
    message = to_nats(EVENT_OF_ALL)
    assert message.headers == {
        **FIELDS,
        "ce-datacontenttype": "application/json;%20charset=utf-8",
        "ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80",
        "ce-n": "5",
        "ce-tlpath": "a%20b",
    }
    assert message.payload == b'{"a":1}'
    again = from_nats(*message)
    assert (again.attributes, again.data) == (EVENT_OF_ALL.attributes, {"a": 1})


def test_the_datacontenttype_is_a_header_of_its_own() -> None:
    headers = {**FIELDS, "CE-DataContentType": "text/plain", "Content-Type": "application/json"}
    event = from_nats(headers, b"5")
    assert (event.datacontenttype, event.data) == ("text/plain", b"5")
    assert to_nats(EVENT.replace(data="x")).headers["ce-datacontenttype"] == "application/json"
    assert "ce-datacontenttype" not in to_nats(EVENT.replace(data=b"x")).headers


@pytest.mark.parametrize("kind", ["application/cloudevents", "Application/CloudEvents+JSON; charset=utf-8"])
def test_structured_mode_is_that_of_the_content_type(kind: str) -> None:
    message = to_nats(EVENT_OF_ALL, "structured")
    assert message == ({"Content-Type": "application/cloudevents+json"}, to_json(EVENT_OF_ALL))
    assert from_nats({"content-TYPE": kind}, message.payload) == EVENT_OF_ALL


def test_without_headers_it_is_structured() -> None:
    assert from_nats(None, to_json(EVENT_OF_ALL)) == EVENT_OF_ALL


def test_what_is_refused() -> None:
    with pytest.raises(UnknownFormat, match="the message is no CloudEvent"):
        from_nats({}, b"")
    with pytest.raises(UnknownFormat, match="is not known here"):
        from_nats({"Content-Type": "application/cloudevents-batch+json"}, b"[]")
    with pytest.raises(InvalidCloudEvent, match="lacks source"):
        from_nats({name: value for name, value in FIELDS.items() if name != "ce-source"}, b"")
    with pytest.raises(InvalidCloudEvent, match="is not UTF-8 when decoded"):
        from_nats({**FIELDS, "ce-subject": "%C0%A0"}, b"")
    with pytest.raises(ValueError, match="mode= takes"):
        to_nats(EVENT, "batched")  # type: ignore[arg-type]
