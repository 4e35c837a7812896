"""The HTTP binding: three modes, header names and values."""

from __future__ import annotations

import pytest

from tests.cloudevents.samples import EURO, EVENT, FIELDS
from tiny_listener.cloudevents import (
    InvalidCloudEvent,
    UnknownFormat,
    from_http,
    from_http_batch,
    iter_http,
    mode_of,
    to_http,
    to_http_batch,
    to_json,
)
from tiny_listener.cloudevents.header_fields import decode_value, encode_value


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("application/cloudevents+json", "structured"), ("Application/CloudEvents+JSON; charset=UTF-8", "structured"),
        ("application/cloudevents", "structured"), ("application/cloudevents-batch+json", "batched"),
        ("APPLICATION/CLOUDEVENTS-BATCH+JSON;a=b", "batched"), ("application/json", "binary"), ("", "binary"),
        ("text/application/cloudevents", "binary"),
    ],
)  # fmt: skip
def test_the_mode_is_that_of_the_content_type(kind: str, mode: str) -> None:
    assert mode_of(kind) == mode


def test_binary_mode() -> None:
    event = EVENT.replace(
        data={"a": 1}, datacontenttype="application/json; charset=utf-8", extensions={"n": 5, "b": True}
    )
    message = to_http(event)
    assert message.headers == [
        ("content-type", "application/json; charset=utf-8"), *FIELDS.items(), ("ce-n", "5"), ("ce-b", "true"),
    ]  # fmt: skip
    assert message.body == b'{"a":1}'
    again = from_http(message.headers, message.body)
    assert (again.attributes, again.data) == (event.attributes, {"a": 1})


def test_content_type_is_the_datacontenttype() -> None:
    event = from_http({**FIELDS, "Content-Type": "text/plain; charset=latin-1"}, b"\xfc")
    assert (event.datacontenttype, event.data) == ("text/plain; charset=latin-1", b"\xfc")
    assert dict(to_http(event).headers)["content-type"] == "text/plain; charset=latin-1"
    assert from_http(FIELDS, b"").datacontenttype is None
    assert "content-type" not in dict(to_http(EVENT).headers)
    assert "content-type" not in dict(to_http(EVENT.replace(data=b"x")).headers)


def test_there_is_no_ce_datacontenttype() -> None:
    with pytest.raises(InvalidCloudEvent, match="there is no header ce-datacontenttype in HTTP"):
        from_http({**FIELDS, "ce-datacontenttype": "text/plain"}, b"x")
    assert "ce-datacontenttype" not in dict(to_http(EVENT.replace(datacontenttype="text/plain", data="x")).headers)


def test_the_implied_type_of_data_is_said() -> None:
    for data in ({"a": 1}, "text", None, 5):
        assert dict(to_http(EVENT.replace(data=data)).headers)["content-type"] == "application/json"


def test_the_body_is_the_data() -> None:
    for data, kind, body in (
        (b"\0\xff", "application/json", b"\0\xff"),
        ("ü", "text/plain", "ü".encode()),
        ("ü", 'text/plain; CHARSET="Latin-1"', b"\xfc"),
        ("ü", "application/json", '"ü"'.encode()),
        (None, None, b"null"),
    ):
        assert to_http(EVENT.replace(data=data, datacontenttype=kind)).body == body
    assert to_http(EVENT).body == b""
    with pytest.raises(InvalidCloudEvent, match="data cannot be encoded as iso8859-1"):
        to_http(EVENT.replace(data="\u20ac", datacontenttype="text/plain; charset=latin-1"))
    for unknown in ("klingon", "hex", '""', "rot13"):
        with pytest.raises(InvalidCloudEvent, match="which is not known"):
            to_http(EVENT.replace(data="x", datacontenttype=f"text/plain; charset={unknown}"))


def test_a_body_of_json_is_decoded() -> None:
    assert from_http({**FIELDS, "content-type": "text/x+JSON"}, b' {"a": null}').data == {"a": None}
    assert from_http({**FIELDS, "content-type": "application/json; charset=utf-16"}, "5".encode("utf-16")).data == 5
    null = from_http({**FIELDS, "content-type": "application/json"}, b"null")
    assert (null.has_data, null.data) == (True, None)
    assert not from_http({**FIELDS, "content-type": "application/json"}, b"").has_data
    for wrong, kind in (
        (b"I'm just a string", "utf-8"),
        (b"\xff", "utf-8"),
        (b"5", "utf-16"),
        (b"[" * 100_000, "utf-8"),
    ):
        with pytest.raises(InvalidCloudEvent, match="the body is"):
            from_http({**FIELDS, "content-type": f"application/json;charset={kind}"}, wrong)


def test_names_of_headers_have_any_case() -> None:
    fields = [(name.upper().encode(), value.encode()) for name, value in FIELDS.items()]
    assert from_http([*fields, (b"CE-Subject", b"x"), (b"Host", b"a")], b"") == EVENT.replace(subject="x")


def test_each_attribute_has_one_header() -> None:
    with pytest.raises(InvalidCloudEvent, match="the header 'ce-id' is there twice"):
        from_http([*FIELDS.items(), ("CE-ID", "1")], b"")
    with pytest.raises(InvalidCloudEvent, match="the header content-type is there twice"):
        from_http([*FIELDS.items(), ("Content-Type", "a/b"), ("content-type", "a/b")], b"")
    for name in ("ce-", "ce-a-b", "ce-ä", "ce-data"):
        with pytest.raises(InvalidCloudEvent, match="name"):
            from_http({**FIELDS, name: "x"}, b"")


def test_what_is_encoded() -> None:
    printable = [chr(n) for n in range(0x21, 0x7F) if chr(n) not in '"%']
    assert encode_value("".join(printable)) == "".join(printable)
    assert encode_value(' "%') == "%20%22%25"
    assert encode_value("\x7f\x00\t") == "%7F%00%09"
    assert encode_value(EURO) == "Euro%20%E2%82%AC%20%F0%9F%98%80"


def test_what_is_decoded() -> None:
    assert decode_value("x", "Euro%20%E2%82%AC%20%F0%9F%98%80") == EURO
    assert decode_value("x", "Euro%20%e2%82%ac") == "Euro \u20ac"  # lower-case digits
    assert decode_value("x", "%41b%2D") == "Ab-"  # needless escapes
    assert decode_value("x", "%2541") == "%41"  # one round only
    assert decode_value("x", " a b\t") == "a b"
    assert decode_value("x", "say %22hi%22") == 'say "hi"'
    assert decode_value("x", 'say "hi"') == 'say "hi"'


def test_quotes_are_undone_first() -> None:
    assert decode_value("x", r'"a \"b\" \\ %22c%22 \d"') == r'a "b" \ "c" d'
    assert decode_value("x", '""') == ""
    assert decode_value("x", '"%5C%22"') == '\\"'  # what was encoded is not unescaped
    for wrong in ('"', '"a', r'"a\"', '"a"b', '"a" "b"'):
        with pytest.raises(InvalidCloudEvent, match="the header x has a quote that is not closed"):
            decode_value("x", wrong)


@pytest.mark.parametrize("value", ["%C0%A0", "%80", "%FF", "%ED%A0%80", "%F4%90%80%80", "a%E2%82", "%E2 %82%AC"])
def test_escapes_that_are_no_utf_8_are_refused(value: str) -> None:
    with pytest.raises(InvalidCloudEvent, match="the header x is not UTF-8 when decoded"):
        decode_value("x", value)


def test_values_are_printable_ascii() -> None:
    for wrong in ("ü", "\u20ac", "\x7f", "a\x00b"):
        with pytest.raises(InvalidCloudEvent, match=r"the header x has the character U\+.*write it percent-encoded"):
            decode_value("x", wrong)
    for wrong in ("%", "100%", "%4", "%zz", "% 41"):
        with pytest.raises(InvalidCloudEvent, match="a percent sign without two digits behind it"):
            decode_value("x", wrong)
    with pytest.raises(InvalidCloudEvent, match=r"subject has the character U\+000A"):
        from_http({**FIELDS, "ce-subject": "a%0Ab"}, b"")


def test_structured_mode() -> None:
    event = EVENT.replace(data=b"\0", subject=EURO, extensions={"n": 5})
    message = to_http(event, "structured")
    assert message == ([("content-type", "application/cloudevents+json")], to_json(event))
    assert from_http({"Content-Type": "Application/CloudEvents+JSON; charset=UTF-8"}, message.body) == event
    assert from_http({"Content-Type": "application/cloudevents"}, message.body) == event
    # Attributes in header fields as well are allowed; those of the body count.
    assert from_http({**FIELDS, "ce-id": "2", "content-type": "application/cloudevents+json"}, message.body) == event


def test_a_format_that_is_not_known() -> None:
    for kind in ("application/cloudevents+avro", "application/cloudevents+json5", "application/cloudeventsx"):
        with pytest.raises(UnknownFormat, match=r"is not known here: application/cloudevents\+json is"):
            from_http({"content-type": kind}, b"{}")
    with pytest.raises(UnknownFormat, match="always UTF-8"):
        from_http({"content-type": "application/cloudevents+json; charset=utf-16"}, b"{}")
    with pytest.raises(UnknownFormat, match=r"application/cloudevents-batch\+json is"):
        from_http_batch({"content-type": "application/cloudevents-batch+avro"}, b"[]")


def test_a_message_that_is_none() -> None:
    for fields in ({}, {"content-type": "application/json"}, {"ce-subject": "x"}):
        with pytest.raises(UnknownFormat, match="the message is no CloudEvent: it has neither"):
            from_http(fields, b"{}")


def test_missing_attributes_are_named() -> None:
    with pytest.raises(InvalidCloudEvent, match="the CloudEvent lacks id and type, which every event has"):
        from_http({"ce-specversion": "1.0", "ce-source": "/s"}, b"")


def test_batched_mode() -> None:
    events = [EVENT, EVENT.replace(id="2", data={"a": 1})]
    message = to_http_batch(events)
    assert message.headers == [("content-type", "application/cloudevents-batch+json")]
    assert from_http_batch(message.headers, message.body) == events == list(iter_http(message.headers, message.body))
    assert from_http_batch(*to_http_batch([])) == []
    with pytest.raises(InvalidCloudEvent, match=r"from_http_batch\(\) reads it"):
        from_http(*message)
    with pytest.raises(UnknownFormat):
        from_http_batch({"content-type": "application/cloudevents+json"}, b"[]")


def test_any_mode() -> None:
    for message in (to_http(EVENT), to_http(EVENT, "structured"), to_http_batch([EVENT])):
        assert list(iter_http(*message)) == [EVENT]


def test_a_mode_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="mode= takes 'binary' or 'structured', not 'batched'"):
        to_http(EVENT, "batched")  # type: ignore[arg-type]
