"""Events as NATS messages: CloudEvents in binary mode (NATS protocol binding 1.0.2). Pure."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Final

from ..cloudevents.header_fields import decode_value, encode_value
from ..events.envelope import Envelope

__all__ = ["NoEvent", "envelope_of", "headers_of"]

ATTRIBUTE: Final = re.compile(r"[a-z0-9]+")
OURS: Final = frozenset({
    "ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "ce-datacontenttype", "ce-partitionkey",
    "ce-tlpath", "ce-tlserial", "ce-tlcid", "ce-tlparams", "ce-tlexpires", "ce-tldue", "ce-tlmore", "ce-tlat",
})  # fmt: skip
"""Header fields that are not attributes of the application."""
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"


class NoEvent(ValueError):  # noqa: N818 - what it is
    """A message of the stream is no event of ours."""


def headers_of(envelope: Envelope, app: str) -> dict[str, str]:
    """Return the header fields of an event. Its data are the payload.

    :param app: name of the application
    """
    time = dt.datetime.fromtimestamp(envelope.published_at, dt.UTC).isoformat()
    headers = {
        "ce-specversion": "1.0",
        "ce-id": encode_value(envelope.id),
        "ce-source": f"/tiny-listener/{app}",
        "ce-type": encode_value(envelope.route),
        "ce-time": time.replace("+00:00", "Z"),
        "ce-datacontenttype": JSON if envelope.is_json else BYTES,
        "ce-tlpath": encode_value(envelope.path),
        "ce-tlat": repr(envelope.published_at),
    }
    if envelope.key is not None:
        headers["ce-partitionkey"] = encode_value(envelope.key)
        if not envelope.serial:
            headers["ce-tlserial"] = "0"
    if envelope.cid is not None:
        headers["ce-tlcid"] = encode_value(envelope.cid)
    if envelope.params is not None:
        headers["ce-tlparams"] = encode_value(json.dumps(envelope.params))
    if envelope.expires is not None:
        headers["ce-tlexpires"] = repr(envelope.expires)
    more = {}
    for name, value in envelope.attributes.items():
        field = f"ce-{name}"
        if ATTRIBUTE.fullmatch(name) and field not in OURS:
            headers[field] = encode_value(value)
        else:
            more[name] = value
    if more:
        headers["ce-tlmore"] = encode_value(json.dumps(more))
    return headers


def envelope_of(headers: Mapping[str, str] | None, data: bytes) -> Envelope:
    """Return the event in a message.

    :raises NoEvent: it is none of ours, and why
    """
    fields = {name.lower(): value for name, value in (headers or {}).items()}
    try:
        values = {name: decode_value(name, value) for name, value in fields.items() if name.startswith("ce-")}
        attributes = {name[3:]: value for name, value in values.items() if name not in OURS}
        if "ce-tlmore" in values:
            attributes.update(_texts(values["ce-tlmore"]))
        params = values.get("ce-tlparams")
        return Envelope(
            id=values["ce-id"],
            path=values["ce-tlpath"],
            route=values["ce-type"],
            data=data,
            published_at=float(values["ce-tlat"]),
            key=values.get("ce-partitionkey"),
            serial=values.get("ce-tlserial") != "0",
            is_json=values["ce-datacontenttype"] == JSON,
            params=None if params is None else _texts(params),
            cid=values.get("ce-tlcid"),
            expires=float(values["ce-tlexpires"]) if "ce-tlexpires" in values else None,
            attributes=attributes,
        )
    except KeyError as exc:
        raise NoEvent(f"it has no header field {exc.args[0]}") from None
    except ValueError as exc:
        raise NoEvent(str(exc)) from None


def _texts(text: str) -> dict[str, str]:
    found = json.loads(text)
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"{text[:100]!r} is no object of texts")
    return found
