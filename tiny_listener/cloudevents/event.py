"""A CloudEvent."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Self

from ..errors import EventDataError
from .checks import (
    check_media_type,
    check_name,
    check_string,
    check_timestamp,
    check_uri,
    check_uri_reference,
    native,
    parse_timestamp,
    short,
    text_of,
)
from .content import is_json_type
from .errors import InvalidCloudEvent

__all__ = ["ABSENT", "CORE", "REQUIRED", "CloudEvent"]


class _Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "ABSENT"


ABSENT: Final = _Absent.ABSENT
"""Stands for data that an event does not have; None is the null of JSON."""
REQUIRED: Final = ("specversion", "id", "source", "type")
"""The attributes that every event has."""
OPTIONAL: Final = ("datacontenttype", "dataschema", "subject", "time")
CORE: Final = (*REQUIRED, *OPTIONAL)
"""The attributes that the specification defines; all others are extensions."""
NOT_EMPTY: Final = frozenset({"partitionkey", "traceparent"})
"""Extensions that must not be empty, by their own specifications."""


class CloudEvent:
    """An event as CloudEvents 1.0.2 defines it. It cannot be changed: `replace` makes another.

    :param type: what has happened, such as `com.example.order.placed`
    :param source: where it happened: a URI-reference (RFC 3986), such as `/orders`
    :param data: the payload. bytes are opaque. Anything else is a JSON value where `datacontenttype` is JSON or None,
        and a text otherwise. `ABSENT` (the default): there is none
    :param id: together with `source` it identifies the event; by default a new UUID
    :param time: when it happened: a text of RFC 3339, or a datetime with a time zone
    :param subject: what it is about, within `source`
    :param datacontenttype: the media type of the data (RFC 2046); None: JSON, unless the data is bytes
    :param dataschema: the URI of the schema of the data
    :param extensions: further attributes: texts, booleans, whole numbers of 32 bits; bytes (as Base64) and datetimes
        become texts. One that is None is left out
    :param specversion: "1.0"
    :raises InvalidCloudEvent: an argument breaks a requirement of the specification

    `time` is a text, as it was given or received; `timestamp` is a datetime.
    """

    __slots__ = (
        "_data",
        "datacontenttype",
        "dataschema",
        "extensions",
        "id",
        "source",
        "specversion",
        "subject",
        "time",
        "type",
    )

    id: str
    source: str
    type: str
    specversion: str
    time: str | None
    subject: str | None
    datacontenttype: str | None
    dataschema: str | None
    extensions: Mapping[str, str | int | bool]
    """Further attributes by name, read-only."""
    _data: Any

    def __init__(
        self,
        type: str,  # noqa: A002
        source: str,
        data: Any = ABSENT,
        *,
        id: str | None = None,  # noqa: A002
        time: str | dt.datetime | None = None,
        subject: str | None = None,
        datacontenttype: str | None = None,
        dataschema: str | None = None,
        extensions: Mapping[str, Any] | None = None,
        specversion: str = "1.0",
    ) -> None:
        if specversion != "1.0":
            raise InvalidCloudEvent(
                f"specversion must be '1.0', the version that is understood, not {short(specversion)}"
            )
        values = {
            "specversion": specversion,
            "id": str(uuid.uuid4()) if id is None else check_string("id", id),
            "source": check_uri_reference("source", source),
            "type": check_string("type", type),
            "time": None if time is None else check_timestamp("time", time),
            "subject": None if subject is None else check_string("subject", subject),
            "datacontenttype": None
            if datacontenttype is None
            else check_media_type("datacontenttype", datacontenttype),
            "dataschema": None if dataschema is None else check_uri("dataschema", dataschema),
            "extensions": MappingProxyType(_checked(extensions or {})),
            "_data": _plain_bytes(data),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.has_data and not isinstance(self._data, (bytes, str)) and not self.is_json:
            raise InvalidCloudEvent(
                f"data of the type {datacontenttype!r} must be bytes or a str, not {_kind(data)}: "
                "encode it, or set datacontenttype='application/json'"
            )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a CloudEvent cannot be changed: event.replace({name}=...) makes another")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a CloudEvent cannot be changed: event.replace({name}=None) makes another")

    # --- data ---------------------------------------------------------------------------------------

    @property
    def data(self) -> Any:
        """The payload; None without one, or if it is the null of JSON: see `has_data`."""
        return None if self._data is ABSENT else self._data

    @property
    def has_data(self) -> bool:
        """Whether it has a payload."""
        return self._data is not ABSENT

    @property
    def is_json(self) -> bool:
        """Whether its data is JSON by its media type: `*/json`, `*/*+json`, or none (JSON format, section 3.1.1)."""
        return self.datacontenttype is None or is_json_type(self.datacontenttype)

    # --- attributes -----------------------------------------------------------------------------------

    @property
    def attributes(self) -> dict[str, str]:
        """All attributes that are set, by name, each as its canonical string."""
        return {name: text_of(value) for name, value in self.typed_attributes.items()}

    @property
    def typed_attributes(self) -> dict[str, str | int | bool]:
        """All attributes that are set, by name: booleans and whole numbers are such, all others texts."""
        core = {name: value for name in CORE if (value := getattr(self, name)) is not None}
        return {**core, **self.extensions}

    @property
    def timestamp(self) -> dt.datetime | None:
        """`time` as a datetime: its fraction is cut to microseconds."""
        return None if self.time is None else parse_timestamp("time", self.time)

    @property
    def partitionkey(self) -> str | None:
        """The extension `partitionkey`: the key whose events stay in order."""
        return self._extension("partitionkey")

    @property
    def traceparent(self) -> str | None:
        """The extension `traceparent`: the trace that the event belongs to (W3C Trace Context)."""
        return self._extension("traceparent")

    @property
    def tracestate(self) -> str | None:
        """The extension `tracestate`."""
        return self._extension("tracestate")

    @property
    def expires(self) -> dt.datetime | None:
        """The extension `expirytime`: when the event is no longer useful."""
        text = self._extension("expirytime")
        return None if text is None else parse_timestamp("expirytime", text)

    @property
    def dedup_id(self) -> str:
        """What identifies the event: a hash of `source` and `id`, 64 hexadecimal digits."""
        # Neither has control characters, so that no two pairs give the same text.
        return hashlib.sha256(f"{self.source}\n{self.id}".encode()).hexdigest()

    def _extension(self, name: str) -> str | None:
        value = self.extensions.get(name)
        return None if value is None else text_of(value)

    # --- others like it -------------------------------------------------------------------------------

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], data: Any = ABSENT) -> Self:
        """Return the event with these attributes, core ones and extensions by their names. None is an absent one.

        :raises InvalidCloudEvent: an attribute is missing or wrong
        """
        given = {check_name(name): value for name, value in attributes.items() if value is not None}
        if missing := [name for name in REQUIRED if name not in given]:
            raise InvalidCloudEvent(f"the CloudEvent lacks {' and '.join(missing)}, which every event has")
        core = {name: given.pop(name) for name in CORE if name in given}
        return cls(data=data, extensions=given, **core)

    @classmethod
    def from_event(cls, event: Any) -> Self:
        """Return the event that a handler was called with, for an argument annotated with this class.

        :raises EventDataError: it did not come as a CloudEvent
        """
        attributes = event.attributes
        if "specversion" not in attributes:
            raise EventDataError(
                f"The event {event.route.path!r} did not come as a CloudEvent: app.listen_cloudevents() receives such"
            )
        # Those of the carrier are no business of others.
        own = {name: value for name, value in attributes.items() if not name.startswith("tl")}
        return cls.from_attributes(own, ABSENT if event.payload is None else event.payload)

    def replace(self, **changes: Any) -> Self:
        """Return an event with other values for some arguments of the constructor.

        :raises InvalidCloudEvent: a value breaks a requirement of the specification
        """
        same = {name: getattr(self, name) for name in (*CORE, "extensions")}
        return type(self)(**{**same, "data": self._data, **changes})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CloudEvent):
            return NotImplemented
        return self.typed_attributes == other.typed_attributes and (self.has_data, self.data) == (
            other.has_data,
            other.data,
        )

    def __hash__(self) -> int:
        return hash((self.source, self.id))

    def __repr__(self) -> str:
        return f"CloudEvent(type={self.type!r}, source={self.source!r}, id={self.id!r})"


def _checked(extensions: Mapping[str, Any]) -> dict[str, str | int | bool]:
    found = {}
    for name, value in extensions.items():
        if value is None:
            continue
        if check_name(name) in CORE:
            raise InvalidCloudEvent(f"{name} is no extension: give it as the argument {name}=")
        found[name] = native(name, value)
        if name in NOT_EMPTY and found[name] == "":
            raise InvalidCloudEvent(f"{name} must not be empty: leave it out")
        if name == "expirytime":
            check_timestamp(name, found[name])
    return found


def _plain_bytes(data: Any) -> Any:
    return bytes(data) if isinstance(data, (bytearray, memoryview)) else data


def _kind(value: object) -> str:
    return value.__class__.__name__
