"""The data of an event as bytes, by its media type, and back."""

from __future__ import annotations

import codecs
import re
from typing import Any, Final

import msgspec

from .checks import MEDIA_TYPE, short
from .errors import InvalidCloudEvent

__all__ = ["charset_of", "decode_json", "encode_json", "encode_text", "is_json_type"]

_CHARSET: Final = re.compile(r';[ \t]*charset=(?:"([^"\\]*)"|([^ \t;"]+))', re.IGNORECASE)


def is_json_type(media_type: str) -> bool:
    """Whether a media type declares JSON: `*/json` or `*/*+json`, whatever its parameters (JSON format, 3.1.1)."""
    found = MEDIA_TYPE.fullmatch(media_type)
    subtype = "" if found is None else found[2].lower()
    return subtype == "json" or subtype.endswith("+json")


def charset_of(media_type: str | None) -> str:
    """Return the character encoding of a media type, by a name that Python knows; UTF-8 if it says none.

    :raises InvalidCloudEvent: nobody knows it
    """
    found = None if media_type is None else _CHARSET.search(media_type)
    name = "utf-8" if found is None else found[1] or found[2] or ""
    try:
        known = codecs.lookup(name)
        "".encode(known.name)  # codecs that are no text encodings, such as hex, are refused
    except (LookupError, ValueError):
        raise InvalidCloudEvent(f"datacontenttype has the charset {short(name)}, which is not known") from None
    return known.name


def _plain(value: Any) -> Any:
    if callable(dump := getattr(value, "model_dump", None)):  # a model of pydantic
        return dump(mode="json")
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")


_ENCODE: Final = msgspec.json.Encoder(enc_hook=_plain).encode


def encode_json(value: Any) -> bytes:
    """Return a value as JSON.

    :raises InvalidCloudEvent: it has no form in JSON
    """
    try:
        return _ENCODE(value)
    except (TypeError, ValueError, NotImplementedError, OverflowError, RecursionError, msgspec.MsgspecError) as exc:
        raise InvalidCloudEvent(
            f"data takes what msgspec encodes as JSON, such as a dict, a Struct or a dataclass, or bytes: {exc}"
        ) from None


def decode_json(what: str, data: bytes | str, kind: Any = Any) -> Any:
    """Return what JSON says.

    :param what: it is, for messages
    :raises InvalidCloudEvent: it is no JSON, or none of this kind
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise InvalidCloudEvent(f"{what} is not what it says, JSON: {exc}") from None
    except RecursionError:
        raise InvalidCloudEvent(f"{what} is nested too deeply") from None


def encode_text(text: str, media_type: str | None) -> bytes:
    """Return a text in the character encoding of its media type.

    :raises InvalidCloudEvent: it cannot be encoded
    """
    charset = charset_of(media_type)
    try:
        return text.encode(charset)
    except UnicodeError as exc:
        raise InvalidCloudEvent(f"data cannot be encoded as {charset}: {exc.__class__.__name__}") from None
