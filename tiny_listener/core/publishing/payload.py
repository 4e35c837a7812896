"""The data of published events: to bytes and back. Pure."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any, Final

import msgspec

from ...errors import EventDataError

__all__ = ["decode_payload", "due_time", "encode_payload", "finite", "items_of"]


def _plain(value: Any) -> Any:
    if callable(dump := getattr(value, "model_dump", None)):  # a model of pydantic
        return dump(mode="json")
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")


_ENCODE: Final = msgspec.json.Encoder(enc_hook=_plain).encode
_DECODE: Final = msgspec.json.Decoder().decode
_ENCODE_MSGPACK: Final = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search
"""Finds a float in MessagePack whose exponent is that of NaN and of infinity; it may find a part of some bytes too."""


def encode_payload(data: Any, name: str = "data=") -> tuple[bytes, bool]:
    """Return data as bytes, and whether these are JSON. Bytes stay as they are.

    :param name: of what is encoded, for errors
    :raises TypeError: it cannot be encoded
    :raises ValueError: a part of it has no form in JSON, such as half of a surrogate pair, or NaN
    """
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), False
    try:
        encoded = _ENCODE(data)
        if b"null" in encoded:  # msgspec writes what is not finite as null
            _check_finite(data, name)
        return encoded, True
    except _NotFiniteError as exc:
        raise ValueError(*exc.args) from None
    except (TypeError, NotImplementedError, msgspec.MsgspecError) as exc:
        raise TypeError(
            f"{name} takes what msgspec encodes as JSON, such as a dict, a Struct or a dataclass, or bytes: {exc}"
        ) from None
    except (OverflowError, ValueError, RecursionError) as exc:
        raise ValueError(f"{name} has a part that JSON cannot hold: {exc}") from None


class _NotFiniteError(Exception): ...


def _check_finite(data: Any, name: str) -> None:
    """Refuse NaN and infinity.

    :raises _NotFiniteError: there is one; the text says where
    """
    try:
        if _NOT_FINITE(_ENCODE_MSGPACK(data)) is None:  # PERF: a tenth of the time of the walk
            return
    except Exception:  # noqa: S110 - JSON can hold it, and MessagePack cannot, such as an integer of over 64 bits
        pass
    if (found := _find(msgspec.to_builtins(data, str_keys=True, enc_hook=_plain_of_raw))) is not None:
        where, number = found
        raise _NotFiniteError(
            f"{name} has {number}{where and f' at {where}'}, and JSON has no such number: give None or a text instead"
        )


def _plain_of_raw(value: Any) -> Any:
    return None if isinstance(value, msgspec.Raw) else _plain(value)


def _find(value: Any) -> tuple[str, float] | None:
    """Return the first number that is not finite, and where it is."""
    if isinstance(value, float):
        return None if math.isfinite(value) else ("", value)
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, item in items:
        if (found := _find(item)) is not None:
            return f"[{key!r}]{found[0]}", found[1]
    return None


def decode_payload(data: bytes, *, is_json: bool) -> Any:
    """Return what `encode_payload` got, as plain values.

    :raises EventDataError: it is no JSON
    """
    if not is_json:
        return data
    try:
        return _DECODE(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise EventDataError(f"the data of this event is no JSON: {exc}") from None


def items_of(payload: Any) -> dict[str, Any]:
    """Return `event.data` for a payload: itself if it is an object, nothing for null, else it as the item `data`."""
    if isinstance(payload, dict):
        return payload
    return {} if payload is None else {"data": payload}


def due_time(delay: Any, at: Any, now: float) -> float | None:
    """Return when an event is due, in seconds since 1970; None: at once.

    :param delay: seconds from now, or a timedelta
    :param at: a datetime with a time zone, or seconds since 1970
    :param now: seconds since 1970
    :raises TypeError: wrong types, or both are given
    :raises ValueError: the delay is below 0, or the datetime has no time zone
    """
    if delay is not None and at is not None:
        raise TypeError("publish() takes delay= or at=, not both")
    if delay is not None:
        given = delay.total_seconds() if isinstance(delay, dt.timedelta) else delay
        if not _is_number(given):
            raise TypeError(f"delay= takes seconds or a timedelta, not {delay!r}")
        seconds = finite(given)
        if seconds is None or seconds < 0:
            raise ValueError(f"delay= takes 0 or more seconds, not {delay!r}")
        return now + seconds if seconds else None
    if at is None:
        return None
    if isinstance(at, dt.datetime):
        if at.tzinfo is None:
            raise ValueError(f"at= takes a datetime with a time zone, not {at!r}: add tzinfo=datetime.UTC")
        return at.timestamp()
    if not _is_number(at):
        raise TypeError(f"at= takes a datetime with a time zone, or seconds since 1970, not {at!r}")
    seconds = finite(at)
    if seconds is None or seconds < 0:
        raise ValueError(f"at= takes seconds since 1970, not {at!r}")
    return seconds


def finite(value: Any) -> float | None:
    """Return a number as a float; None if it is no number, or none that a float can hold."""
    try:
        number = float(value) if _is_number(value) else math.nan
    except OverflowError:  # an int of more than 300 digits
        return None
    return number if math.isfinite(number) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
