"""Attributes as header fields, as the bindings of HTTP and of NATS share them (section 3.1.3 of each)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from .checks import short
from .errors import InvalidCloudEvent

__all__ = ["PREFIX", "FieldsIn", "attributes_in", "decode_value", "encode_value", "pairs_of"]

PREFIX: Final = "ce-"
FieldsIn: TypeAlias = "Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]"
"""Header fields: a mapping, or pairs, as texts in Latin-1 or as bytes."""

TO_ENCODE: Final = re.compile(r"[^!#$&-~]")
"""All but U+0021 to U+007E, and of these the double quote and the percent sign."""
NOT_PRINTABLE: Final = re.compile(r"[^\t\x20-\x7e]")
NOT_ENCODED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"')
PAIR: Final = re.compile(r"\\(.)")
"""A quoted-pair (RFC 7230 section 3.2.6)."""


def encode_value(text: str) -> str:
    """Return the value of an attribute as that of a header field: percent-encoded, with upper-case digits."""
    return TO_ENCODE.sub(_encode, text)


def _encode(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def decode_value(name: str, value: str) -> str:
    """Return the value of a header field as that of an attribute: without quotes, percent-decoded once.

    :param name: of the header field, for messages
    :raises InvalidCloudEvent: it is no printable ASCII, its quotes are not closed, or its escapes are no UTF-8
    """
    text = value.strip(" \t")
    if (found := NOT_PRINTABLE.search(text)) is not None:
        raise InvalidCloudEvent(
            f"the header {name} has the character U+{ord(found[0]):04X}: write it percent-encoded, in UTF-8"
        )
    if text.startswith('"'):
        quoted = QUOTED.fullmatch(text)
        if quoted is None:
            raise InvalidCloudEvent(f"the header {name} has a quote that is not closed: write a quote as %22")
        text = PAIR.sub(r"\1", quoted[1])
    if "%" not in text:
        return text
    if NOT_ENCODED.search(text) is not None:
        raise InvalidCloudEvent(f"the header {name} has a percent sign without two digits behind it: write it as %25")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidCloudEvent(f"the header {name} is not UTF-8 when decoded: {short(text)}") from None


def pairs_of(fields: FieldsIn) -> Iterator[tuple[str, str]]:
    """Yield header fields as texts, with their names in lower case."""
    for name, value in fields.items() if isinstance(fields, Mapping) else fields:
        yield _text(name).lower(), _text(value)


def _text(part: str | bytes) -> str:
    return part.decode("latin-1") if isinstance(part, bytes) else part


def attributes_in(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the attributes that header fields hold; other fields are skipped.

    :param pairs: with names in lower case
    :raises InvalidCloudEvent: an attribute is there twice, or a value cannot be decoded
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if not name.startswith(PREFIX):
            continue
        attribute = name.removeprefix(PREFIX)
        if attribute in found:
            raise InvalidCloudEvent(f"the header {short(name)} is there twice: each attribute has one")
        found[attribute] = decode_value(short(name), value)
    return found
