"""What the attributes of a CloudEvent may be: the names and the type system of CloudEvents 1.0.2.

Every function raises `InvalidCloudEvent`, whose text names the attribute and says what would be right. All patterns
are linear: what may be read in two ways is possessive.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from typing import Any, Final

from .errors import InvalidCloudEvent

__all__ = [
    "check_media_type",
    "check_name",
    "check_string",
    "check_timestamp",
    "check_uri",
    "check_uri_reference",
    "native",
    "parse_timestamp",
    "short",
    "text_of",
]

NAME: Final = re.compile(r"[a-z0-9]+")
"""Section "Naming Conventions". More than 20 characters are only discouraged."""
RESERVED: Final = "data"
_PLANES: Final = "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
DISALLOWED: Final = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_PLANES}]")
"""Section "Type System", String: control characters, surrogates, and what Unicode calls noncharacters."""
LEAST, MOST = -(2**31), 2**31 - 1
"""Of an Integer."""

_ENCODED = "%[0-9A-Fa-f]{2}"
_NAMES = r"A-Za-z0-9\-._~!$&'()*+,;="
"""The characters that RFC 3986 calls unreserved and sub-delims."""
_PCHARS = rf"(?:[{_NAMES}:@]|{_ENCODED})*+"
_REST = rf"(?:[{_NAMES}:@/?]|{_ENCODED})*+"
_TAIL = rf"(?:/{_PCHARS})*+(?:\?{_REST})?+"
_FRAGMENT = rf"(?:\#{_REST})?+"
_USER = rf"(?:(?:[{_NAMES}:]|{_ENCODED})*+@)?"
_HOST = rf"(?:\[(?:[0-9A-Fa-f:.]++|v[0-9A-Fa-f]++\.[{_NAMES}:]++)\]|(?:[{_NAMES}]|{_ENCODED})*+)"
_PATH = rf"(?://{_USER}{_HOST}(?::[0-9]*+)?+{_TAIL}|(?!//){_PCHARS}{_TAIL})"
URI: Final = re.compile(rf"[A-Za-z][A-Za-z0-9+\-.]*+:{_PATH}{_FRAGMENT}")
"""RFC 3986 section 3: with a scheme. Its fragment is taken, although an absolute-URI (section 4.3) has none: schemas
name parts of documents by it."""
RELATIVE: Final = re.compile(rf"(?![^/?\#:]*+:){_PATH}{_FRAGMENT}")
"""RFC 3986 section 4.2: the first part of a path may not look like a scheme."""

TIMESTAMP: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
"""RFC 3339 section 5.6."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # noqa: S105 - not of that kind
_PARAMETER = rf'{_TOKEN}=(?:{_TOKEN}|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*+")'
MEDIA_TYPE: Final = re.compile(rf"({_TOKEN})/({_TOKEN})((?:[ \t]*+;[ \t]*+(?:{_PARAMETER})?+)*+)[ \t]*+")
"""RFC 2046, with the white space that RFC 9110 section 8.3.1 allows."""


def short(value: object) -> str:
    """Return a value for a message: printable, on one line, and not long."""
    text = value if isinstance(value, str) else str(value)[:200]
    shown = repr(text[:60]).encode("ascii", "backslashreplace").decode()
    return f"{shown}..." if len(text) > 60 else shown


def check_name(name: Any) -> str:
    """Return the name of an attribute."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidCloudEvent(
            f"{short(name)} is no name of an attribute: it has lower-case letters a-z and digits, and at least one"
        )
    if name == RESERVED:
        raise InvalidCloudEvent("no attribute may have the name 'data': the payload is not an attribute")
    return name


def check_string(name: str, value: Any, *, may_be_empty: bool = False) -> str:
    """Return a String.

    :param name: of the attribute
    """
    if not isinstance(value, str):
        raise InvalidCloudEvent(f"{name} must be a string, not {type(value).__name__}: {short(value)}")
    if not value and not may_be_empty:
        raise InvalidCloudEvent(f"{name} must not be empty")
    if (found := DISALLOWED.search(value)) is not None:
        raise InvalidCloudEvent(
            f"{name} has the character U+{ord(found[0]):04X}: a string has no control characters, "
            "no noncharacters of Unicode and no half of a surrogate pair"
        )
    return value


def check_uri_reference(name: str, value: Any) -> str:
    """Return a URI-reference (RFC 3986 section 4.1)."""
    text = check_string(name, value)
    if not (URI.fullmatch(text) or RELATIVE.fullmatch(text)):
        raise InvalidCloudEvent(
            f"{name} must be a URI-reference (RFC 3986), such as 'https://example.com/orders' or '/orders', "
            f"with other characters percent-encoded, not {short(text)}"
        )
    return text


def check_uri(name: str, value: Any) -> str:
    """Return a URI with a scheme."""
    text = check_string(name, value)
    if not URI.fullmatch(text):
        raise InvalidCloudEvent(
            f"{name} must be a URI with a scheme (RFC 3986), such as 'https://example.com/order.json', "
            f"not {short(text)}"
        )
    return text


def check_timestamp(name: str, value: Any) -> str:
    """Return a Timestamp as text; a datetime must have a time zone."""
    if isinstance(value, dt.datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            raise InvalidCloudEvent(f"{name} must have a time zone, which {value!r} has not: add tzinfo=datetime.UTC")
        offset = value.utcoffset()
        assert offset is not None
        if offset.total_seconds() % 60:  # RFC 3339 has no seconds in an offset
            try:
                value = value.astimezone(dt.UTC)
            except OverflowError:
                raise InvalidCloudEvent(f"{name} is {value!r}, which is in no year from 1 to 9999 in UTC") from None
        text = value.isoformat()
        return f"{text[:-6]}Z" if text.endswith("+00:00") else text
    text = check_string(name, value)
    parse_timestamp(name, text)
    return text


def parse_timestamp(name: str, text: str) -> dt.datetime:
    """Return the time that a text of RFC 3339 says, with its time zone.

    A fraction is cut to microseconds, and a leap second is the end of the second before it.
    """
    found = TIMESTAMP.fullmatch(text)
    wrong = InvalidCloudEvent(f"{name} must be a time of RFC 3339, such as '2026-11-28T09:30:00Z', not {short(text)}")
    if found is None:
        raise wrong
    fields = list(map(int, found.groups()[:6]))
    fraction = int((found[7] or "")[:6].ljust(6, "0"))
    if fields[4:] == [59, 60]:
        fields[5], fraction = 59, 999_999
    hours, minutes = int(found[9] or 0), int(found[10] or 0)
    if hours > 23 or minutes > 59:
        raise wrong
    offset = dt.timedelta(hours=hours, minutes=minutes) * (-1 if found[8] == "-" else 1)
    try:
        return dt.datetime(*fields, fraction, tzinfo=dt.timezone(offset))  # type: ignore[arg-type, misc]
    except ValueError:  # a day or an hour that there is not
        raise wrong from None


def check_media_type(name: str, value: Any) -> str:
    """Return a media type (RFC 2046)."""
    text = check_string(name, value)
    if not MEDIA_TYPE.fullmatch(text):
        raise InvalidCloudEvent(
            f"{name} must be a media type (RFC 2046), such as 'application/json; charset=utf-8', not {short(text)}"
        )
    return text


def native(name: str, value: Any) -> str | int | bool:
    """Return the value of an extension: a Boolean and an Integer stay, all else is its canonical string."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not LEAST <= value <= MOST:
            raise InvalidCloudEvent(
                f"{name} must be from {LEAST} to {MOST}, the range of an Integer, not {short(value)}: write a text"
            )
        return int(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dt.datetime):
        return check_timestamp(name, value)
    if not isinstance(value, str):
        raise InvalidCloudEvent(
            f"{name} must be a string, a whole number, a boolean, bytes or a datetime, "
            f"not {type(value).__name__}: {short(value)}"
        )
    return check_string(name, value, may_be_empty=True)


def text_of(value: str | int | bool) -> str:
    """Return the canonical string of a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
