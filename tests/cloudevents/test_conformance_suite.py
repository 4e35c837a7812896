"""The cases of the conformance suite of CloudEvents (cloudevents/conformance, HTTP feature and yaml/v1.0), as data."""

from __future__ import annotations

import json

import pytest

from tiny_listener.cloudevents import CloudEvent, from_http, from_json, from_nats, to_http, to_json, to_nats

ATTRIBUTES = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "time": "2018-04-05T03:56:24Z",
    "id": "1234-1234-1234",
    "source": "/mycontext/subcontext",
}
DATA = {"message": "Hello World!"}
SOURCE = "//github.com/cloudevents/cloudeventsconformance/yaml/v1.yaml"
MINIMUM = [
    ("text/plain; charset=us-ascii", "Hello, World!\n", b"Hello, World!\n"),
    ("text/plain; charset=utf-8", "Hello, \U0001f30e!\n", "Hello, \U0001f30e!\n".encode()),
    ("application/json; charset=utf-8", "Hello, \U0001f30e!", '"Hello, \U0001f30e!"'.encode()),
    ("application/json; charset=utf-8", {"msg": "Hello, \U0001f30e!"}, '{"msg":"Hello, \U0001f30e!"}'.encode()),
    ("application/json; charset=utf-8", ["Hello", "\U0001f30e!"], '["Hello","\U0001f30e!"]'.encode()),
    ("application/xml; charset=utf-8", "<msg>Hello, \U0001f30e!</msg>\n", "<msg>Hello, \U0001f30e!</msg>\n".encode()),
]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_binary_content_mode(kind: str) -> None:
    headers = {f"ce-{name}": value for name, value in ATTRIBUTES.items()}
    event = from_http(
        {"Host": "example.com", "Content-Type": kind, "Content-Length": "33", **headers},
        b'{\n"message": "Hello World!"\n}',
    )
    assert (event.attributes, event.data) == ({**ATTRIBUTES, "datacontenttype": kind}, DATA)


@pytest.mark.parametrize("kind", ["application/cloudevents+json", "application/cloudevents+json; charset=utf-8"])
def test_structured_content_mode(kind: str) -> None:
    members = {**ATTRIBUTES, "datacontenttype": "application/json", "data": DATA}
    event = from_http({"Host": "example.com", "Content-Type": kind}, json.dumps(members, indent=4).encode())
    assert (event.attributes, event.data) == ({**ATTRIBUTES, "datacontenttype": "application/json"}, DATA)


@pytest.mark.parametrize(("kind", "data", "body"), MINIMUM)
def test_minimum(kind: str, data: object, body: bytes) -> None:
    event = CloudEvent("io.cloudevents.minimum", SOURCE, data, id="conformance-0001", datacontenttype=kind)
    assert from_json(to_json(event)) == event
    assert to_http(event).body == to_nats(event).payload == body
    for again in (from_http(*to_http(event)), from_nats(*to_nats(event))):
        assert again.attributes == event.attributes
        assert again.data == (data if event.is_json else body)
