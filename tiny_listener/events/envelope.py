"""A published event as it is stored and sent; its key and its id. Pure."""

from __future__ import annotations

import secrets
import time
import zlib
from typing import Any

import msgspec

from ..errors import EventTooLarge

__all__ = [
    "HOLDS",
    "MAX_EVENT",
    "MAX_KEY",
    "PARTITIONS",
    "Envelope",
    "check_id",
    "check_result",
    "check_size",
    "check_text",
    "key_text",
    "new_id",
    "partition_of",
    "plain",
]

MAX_KEY = 256
"""Bytes of a key in UTF-8, and of an id."""
MAX_EVENT = 256 * 1024
"""Bytes of an event by default, with its path and attributes. NATS allows 1 MiB with headers; CloudEvents demands 64
KiB of intermediaries."""
PARTITIONS = 64
"""Partitions of the keys by default. They spread keys over workers, and bound how many workers can own some."""


HOLDS = "tlholds"
"""The attribute with the keys that wait for a request, as a list in JSON."""


class Envelope(msgspec.Struct, array_like=True, omit_defaults=False, gc=False):
    """An event, whole.

    :ivar id: stable over all attempts, restarts and carriers
    :ivar path: the text that was published, or the pattern of a named event
    :ivar route: the pattern of its route where it was published; its label in metrics
    :ivar data: the payload, encoded
    :ivar published_at: seconds since 1970
    :ivar key: events with the same key are handled by the same worker
    :ivar serial: whether events with its key are handled one at a time, in the order in which they were stored
    :ivar is_json: whether `data` is JSON; else it is the bytes themselves
    :ivar params: path parameters of a named event; None: `path` is matched
    :ivar cid: the id of the context to handle it in
    :ivar due: seconds since 1970 before which it is not handled; None: at once
    :ivar expires: seconds since 1970 after which it is no longer worth starting; None: never
    :ivar attributes: further attributes, such as `traceparent`
    """

    id: str
    path: str
    route: str
    data: bytes
    published_at: float
    key: str | None = None
    serial: bool = True
    is_json: bool = True
    params: dict[str, str] | None = None
    cid: str | None = None
    due: float | None = None
    expires: float | None = None
    attributes: dict[str, str] = {}

    @property
    def size(self) -> int:
        """Bytes that it counts against limits: data, path, parameters and attributes, and a lump for the rest."""
        path = self.path
        size = 200 + len(self.data) + (len(path) if path.isascii() else len(path.encode()))
        if self.attributes:
            size += _bytes_of(self.attributes)
        if self.params:
            size += _bytes_of(self.params)
        return size


def key_text(key: str | int | bytes) -> str:
    """Return a key as text.

    :raises TypeError: it is neither str, int nor bytes
    :raises ValueError: it is empty, longer than 256 bytes, or not UTF-8
    """
    if isinstance(key, bytes):
        try:
            text = key.decode()
        except UnicodeDecodeError:
            raise ValueError(
                f"key= takes bytes of UTF-8, not {key[:40]!r}; encode it, for example by key.hex()"
            ) from None
    elif isinstance(key, str):
        text = plain(key)
    elif isinstance(key, int) and not isinstance(key, bool):
        text = str(key)
    else:
        raise TypeError(f"key= takes str, int or bytes, not {type(key).__name__}: {key!r}")
    _check_length("key=", text)
    return text


def check_id(name: str, value: Any) -> str:
    """Return an id that the application chose.

    :param name: of the argument
    :raises TypeError: it is no str
    :raises ValueError: it is empty, or longer than 256 bytes of UTF-8
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} takes a str, not {type(value).__name__}: {value!r}")
    _check_length(name, value)
    return plain(value)


def plain(text: str) -> str:
    """Return a text as a `str` itself: one of a subclass, such as Markup, cannot be sent."""
    return str.__str__(text)


def check_text(name: str, text: str) -> int:
    """Return the bytes of a text in UTF-8.

    :param name: of the argument
    :raises ValueError: it has half of a surrogate pair, which UTF-8 cannot encode
    """
    try:
        return _bytes(text)
    except UnicodeEncodeError:
        raise ValueError(f"{name} takes text that UTF-8 can encode, not {text[:40]!r}") from None


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _bytes_of(texts: dict[str, str]) -> int:
    return sum(len(name) + _bytes(text) for name, text in texts.items())


def _check_length(name: str, text: str) -> None:
    size = check_text(name, text)
    if not 1 <= size <= MAX_KEY:
        raise ValueError(f"{name} takes 1 to {MAX_KEY} bytes of UTF-8, not {size}: {text[:40]!r}")


def check_size(envelope: Envelope, limit: int) -> None:
    """Refuse an event that is too large.

    :raises EventTooLarge: it has more than `limit` bytes
    """
    if envelope.size > limit:
        raise EventTooLarge(
            f"The event {envelope.path[:80]!r} has {envelope.size} bytes, and at most {limit} are allowed: "
            "store the data elsewhere, and publish where it is"
        )


def check_result(data: bytes, path: str, limit: int) -> None:
    """Refuse a result of a request that is too large.

    :param path: of the event
    :raises EventTooLarge: it has more than `limit` bytes
    """
    if len(data) > limit:
        raise EventTooLarge(
            f"the result of {path[:80]!r} has {len(data)} bytes, and at most {limit} are allowed, as for events: "
            "store it elsewhere, and return where it is"
        )


def new_id() -> str:
    """Return a new id, in the form of a UUIDv7 (RFC 9562): it sorts by time."""
    milliseconds = int(time.time() * 1000)
    chance = secrets.token_hex(10)
    text = f"{milliseconds:012x}7{chance[:3]}{8 + int(chance[3], 16) % 4:x}{chance[4:19]}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key: the same on every machine and in every version."""
    return zlib.crc32(key.encode()) % partitions
