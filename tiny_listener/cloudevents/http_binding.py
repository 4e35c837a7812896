"""The HTTP protocol binding of CloudEvents 1.0.2: events to and from header fields and bodies, in three modes.

A message is a request or a response, alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from .checks import short
from .content import charset_of, decode_json, encode_json, encode_text, is_json_type
from .errors import InvalidCloudEvent, UnknownFormat
from .event import ABSENT, REQUIRED, CloudEvent
from .header_fields import PREFIX, FieldsIn, attributes_in, encode_value, pairs_of
from .json_format import JSON, JSON_BATCH, from_json, iter_json_batch, to_json, to_json_batch

__all__ = [
    "HTTPMessage",
    "Mode",
    "body_of",
    "data_in",
    "from_http",
    "from_http_batch",
    "iter_http",
    "mode_of",
    "structured_format",
    "to_http",
    "to_http_batch",
]

Mode: TypeAlias = Literal["binary", "structured", "batched"]
STRUCTURED: Final = "application/cloudevents"
BATCHED: Final = "application/cloudevents-batch"


class HTTPMessage(NamedTuple):
    """The part of an HTTP message that an event makes.

    :ivar headers: names in lower case, and values of printable ASCII
    :ivar body: the content
    """

    headers: list[tuple[str, str]]
    body: bytes


def mode_of(content_type: str) -> Mode:
    """Return the content mode that a Content-Type says (section 3); "" for a message without one."""
    kind = content_type.lower()
    if kind.startswith(BATCHED):  # first, because the other is its prefix
        return "batched"
    return "structured" if kind.startswith(STRUCTURED) else "binary"


def to_http(event: CloudEvent, mode: Literal["binary", "structured"] = "binary") -> HTTPMessage:
    """Return an event as a message.

    :param mode: "binary": the data is the body, and each attribute a header field; "structured": all of it is JSON, in
        the body
    :raises InvalidCloudEvent: its data cannot be encoded
    :raises ValueError: there is no such mode
    """
    if mode == "structured":
        return HTTPMessage([("content-type", JSON)], to_json(event))
    if mode != "binary":
        raise ValueError(f"mode= takes 'binary' or 'structured', not {mode!r}")
    attributes = event.attributes
    kind = attributes.pop("datacontenttype", None)
    if kind is None and event.has_data and not isinstance(event.data, bytes):
        kind = "application/json"  # what its absence means in other places
    headers = [] if kind is None else [("content-type", kind)]
    headers += [(PREFIX + name, encode_value(value)) for name, value in attributes.items()]
    return HTTPMessage(headers, body_of(event))


def to_http_batch(events: Iterable[CloudEvent]) -> HTTPMessage:
    """Return events as one message in batched mode. It may be sent only to a receiver that asked for batches
    (section 3).

    :raises InvalidCloudEvent: the data of one cannot be encoded
    """
    return HTTPMessage([("content-type", JSON_BATCH)], to_json_batch(events))


def from_http(headers: FieldsIn, body: bytes) -> CloudEvent:
    """Return the event in a message of binary or structured mode.

    :raises UnknownFormat: it holds no event, or one in a format other than JSON
    :raises InvalidCloudEvent: the event breaks a requirement, or it is a batch
    """
    fields = list(pairs_of(headers))
    kind = _content_type(fields)
    mode = mode_of(kind or "")
    if mode == "batched":
        raise InvalidCloudEvent("the message is a batch of CloudEvents: from_http_batch() reads it")
    if mode == "structured":
        structured_format(kind or "", STRUCTURED)
        return from_json(body)
    attributes = attributes_in(fields)
    if not any(name in attributes for name in REQUIRED):
        raise UnknownFormat(
            f"the message is no CloudEvent: it has neither Content-Type: {JSON} nor header fields such as ce-id"
        )
    if "datacontenttype" in attributes:
        raise InvalidCloudEvent("there is no header ce-datacontenttype in HTTP: Content-Type is this attribute")
    if kind is not None:
        attributes["datacontenttype"] = kind
    return CloudEvent.from_attributes(attributes, data_in(body, kind))


def from_http_batch(headers: FieldsIn, body: bytes) -> list[CloudEvent]:
    """Return the events in a message of batched mode; [] for an empty batch.

    :raises UnknownFormat: it is no batch, or one in a format other than JSON
    :raises InvalidCloudEvent: one of the events breaks a requirement; the text tells its number
    """
    kind = _content_type(list(pairs_of(headers))) or ""
    structured_format(kind, BATCHED)
    return list(iter_json_batch(body))


def iter_http(headers: FieldsIn, body: bytes) -> Iterator[CloudEvent]:
    """Iterate over the events in a message of any mode; each is parsed as it comes.

    :raises UnknownFormat: as `from_http`
    :raises InvalidCloudEvent: as `from_http` and `from_http_batch`
    """
    fields = list(pairs_of(headers))
    kind = _content_type(fields) or ""
    if mode_of(kind) == "batched":
        structured_format(kind, BATCHED)
        yield from iter_json_batch(body)
    else:
        yield from_http(fields, body)


def structured_format(content_type: str, prefix: str) -> None:
    """Refuse an event format other than JSON in UTF-8. One that is not named is JSON.

    :param prefix: of the mode
    :raises UnknownFormat: it is another
    """
    kind = content_type.partition(";")[0].strip(" \t").lower()
    if kind not in {prefix, f"{prefix}+json"}:
        raise UnknownFormat(f"the format {short(kind)} is not known here: {prefix}+json is")
    if (charset := charset_of(content_type)) not in {"utf-8", "ascii"}:
        raise UnknownFormat(f"the event is encoded as {charset}: {prefix}+json is always UTF-8")


def body_of(event: CloudEvent) -> bytes:
    """Return the data of an event as bytes, as its datacontenttype says; b"" without data.

    :raises InvalidCloudEvent: it cannot be encoded
    """
    data = event.data
    if isinstance(data, bytes):
        return data
    if not event.has_data:
        return b""
    if event.is_json:
        return encode_json(data)
    return encode_text(data, event.datacontenttype)


def data_in(body: bytes, content_type: str | None) -> object:
    """Return the data that a body is: JSON decoded if its type says JSON, else the bytes; `ABSENT` if it is empty.

    :raises InvalidCloudEvent: it is not the JSON that it should be
    """
    if not body:
        return ABSENT
    if content_type is None or not is_json_type(content_type):
        return body
    charset = charset_of(content_type)
    if charset in {"utf-8", "ascii"}:
        return decode_json("the body", body)
    try:
        return decode_json("the body", body.decode(charset))
    except UnicodeError:
        raise InvalidCloudEvent(f"the body is not encoded as {charset}, as its Content-Type says") from None


def _content_type(fields: list[tuple[str, str]]) -> str | None:
    values = [value.strip(" \t") for name, value in fields if name == "content-type"]
    if len(values) > 1:
        raise InvalidCloudEvent("the header content-type is there twice")
    return values[0] if values else None
