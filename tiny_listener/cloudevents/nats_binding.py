"""The NATS protocol binding of CloudEvents 1.0.2: events to and from the header fields and the payload of a message.

Header fields need NATS 2.2 or later. There is no batched mode.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from .errors import UnknownFormat
from .event import REQUIRED, CloudEvent
from .header_fields import PREFIX, FieldsIn, attributes_in, encode_value, pairs_of
from .http_binding import STRUCTURED, body_of, data_in, structured_format
from .json_format import JSON, from_json, to_json

__all__ = ["NATSMessage", "from_nats", "to_nats"]

CONTENT_TYPE = "Content-Type"


class NATSMessage(NamedTuple):
    """The part of a NATS message that an event makes.

    :ivar headers: values of printable ASCII
    :ivar payload: its bytes
    """

    headers: dict[str, str]
    payload: bytes


def to_nats(event: CloudEvent, mode: Literal["binary", "structured"] = "binary") -> NATSMessage:
    """Return an event as a message.

    :param mode: "binary": the data is the payload, and each attribute, `datacontenttype` too, a header field;
        "structured": all of it is JSON, in the payload
    :raises InvalidCloudEvent: its data cannot be encoded
    :raises ValueError: there is no such mode
    """
    if mode == "structured":
        return NATSMessage({CONTENT_TYPE: JSON}, to_json(event))
    if mode != "binary":
        raise ValueError(f"mode= takes 'binary' or 'structured', not {mode!r}")
    attributes = event.attributes
    if event.datacontenttype is None and event.has_data and not isinstance(event.data, bytes):
        attributes["datacontenttype"] = "application/json"
    return NATSMessage({PREFIX + name: encode_value(value) for name, value in attributes.items()}, body_of(event))


def from_nats(headers: FieldsIn | None, payload: bytes) -> CloudEvent:
    """Return the event in a message.

    :param headers: None for a message without any, as before NATS 2.2: it is in structured mode
    :raises UnknownFormat: it holds no event, or one in a format other than JSON
    :raises InvalidCloudEvent: the event breaks a requirement
    """
    if headers is None:
        return from_json(payload)
    fields = list(pairs_of(headers))
    kind = next((value.strip(" \t") for name, value in fields if name == CONTENT_TYPE.lower()), "")
    if kind.lower().startswith(STRUCTURED):
        structured_format(kind, STRUCTURED)
        return from_json(payload)
    attributes = attributes_in(fields)
    if not any(name in attributes for name in REQUIRED):
        raise UnknownFormat(
            f"the message is no CloudEvent: it has neither Content-Type: {JSON} nor header fields such as ce-id"
        )
    return CloudEvent.from_attributes(attributes, data_in(payload, attributes.get("datacontenttype")))
