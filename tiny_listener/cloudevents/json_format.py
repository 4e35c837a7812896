"""The JSON event format and the JSON batch format of CloudEvents 1.0.2."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from .content import decode_json, encode_json
from .errors import InvalidCloudEvent
from .event import ABSENT, CloudEvent

__all__ = [
    "JSON",
    "JSON_BATCH",
    "from_json",
    "from_json_batch",
    "iter_json_batch",
    "to_json",
    "to_json_batch",
]

JSON: Final = "application/cloudevents+json"
"""The media type of one event (section 3)."""
JSON_BATCH: Final = "application/cloudevents-batch+json"
"""The media type of a batch (section 4.2)."""


def to_json(event: CloudEvent) -> bytes:
    """Return an event in the JSON format: UTF-8.

    bytes are the member `data_base64`, all other data is `data`: a JSON value, or a text whose type is not JSON.

    :raises InvalidCloudEvent: its data has no form in JSON
    """
    members: dict[str, Any] = event.typed_attributes
    if isinstance(event.data, bytes):
        members["data_base64"] = base64.b64encode(event.data).decode("ascii")
    elif event.has_data:
        members["data"] = event.data
    return encode_json(members)


def to_json_batch(events: Iterable[CloudEvent]) -> bytes:
    """Return events in the JSON batch format: an array.

    :raises InvalidCloudEvent: the data of one has no form in JSON
    """
    return b"[%b]" % b",".join(map(to_json, events))


def from_json(body: bytes | str) -> CloudEvent:
    """Return the event in a text of the JSON format.

    A member that is null is an absent attribute. `data` stays the JSON value that it is: a string is not parsed again.

    :param body: UTF-8
    :raises InvalidCloudEvent: it is no JSON, or no CloudEvent
    """
    members = decode_json("the CloudEvent", body)
    if not isinstance(members, dict):
        raise InvalidCloudEvent(f"a CloudEvent in JSON is an object, not {type(members).__name__}")
    data, encoded = members.pop("data", ABSENT), members.pop("data_base64", None)
    if encoded is not None:
        if data is not ABSENT:
            raise InvalidCloudEvent("a CloudEvent has data or data_base64, not both")
        data = _decoded(encoded)
    return CloudEvent.from_attributes(members, data)


def iter_json_batch(body: bytes | str) -> Iterator[CloudEvent]:
    """Iterate over the events in a text of the JSON batch format. The body is parsed at the first, each event as it
    comes.

    :param body: UTF-8
    :raises InvalidCloudEvent: it is no JSON, no array, or an element is no CloudEvent; the text tells its number from 1
    """
    try:
        elements = msgspec.json.decode(body, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        raise InvalidCloudEvent("a batch of CloudEvents is an array of JSON") from None
    except (msgspec.MsgspecError, ValueError) as exc:
        raise InvalidCloudEvent(f"the batch is not what it says, JSON: {exc}") from None
    except RecursionError:
        raise InvalidCloudEvent("the batch is nested too deeply") from None
    for number, element in enumerate(elements, 1):
        try:
            event = from_json(bytes(element))
        except InvalidCloudEvent as exc:
            raise InvalidCloudEvent(f"event {number} of the batch: {exc}") from None
        yield event


def from_json_batch(body: bytes | str) -> list[CloudEvent]:
    """Return the events in a text of the JSON batch format; [] for an empty batch.

    :raises InvalidCloudEvent: as `iter_json_batch`
    """
    return list(iter_json_batch(body))


def _decoded(encoded: Any) -> bytes:
    if not isinstance(encoded, str):
        raise InvalidCloudEvent(f"data_base64 must be a string, not {type(encoded).__name__}")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCloudEvent("data_base64 must be Base64 (RFC 4648 section 4), with its padding") from None
