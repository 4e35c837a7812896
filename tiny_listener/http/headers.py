"""The parts of a message other than its body, as mappings of texts: header fields, the query, cookies. Pure functions.

What was received is parsed when asked for, and not modified: the bytes stay available as they were sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final, NoReturn, Self, TypeAlias
from urllib.parse import parse_qsl

from .syntax import is_token

__all__ = [
    "CONTENT_TYPE",
    "FIELD_VALUE",
    "FRAMING",
    "MAX_QUERY_FIELDS",
    "Field",
    "FieldsLike",
    "Headers",
    "MultiDict",
    "ReceivedHeaders",
    "field_of",
    "parse_cookies",
    "parse_query",
    "text_pairs",
]

Field: TypeAlias = tuple[bytes, bytes]
"""A header field: its name and its value, as bytes; names that were received are in lower case."""
FieldsLike: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"
FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date"})
"""Headers that the server writes itself: only it knows how the response is framed."""
CONTENT_TYPE: Final = b"content-type"
MAX_QUERY_FIELDS = 1000
"""Maximum number of fields in a query: Django's DATA_UPLOAD_MAX_NUMBER_FIELDS. A request line of 8 KiB has room for
more."""

_names: dict[str, bytes] = {}
"""Valid names of an application's header fields, as bytes. PERF: applications use few."""
MAX_NAMES = 1000


def field_of(name: str, value: str) -> Field:
    """Return a header field of the application as bytes.

    :raises ValueError: a name or a value that HTTP does not allow (RFC 9110 section 5), or a field that the server
        writes itself
    """
    key = _names.get(name) or _name(name)
    if FIELD_VALUE.match(value) is None:
        raise ValueError(f"the value of the header {name!r} has a control character: {value!r}")
    try:
        return key, value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the value of the header {name!r} has a character beyond Latin-1: {value!r}") from None


def _name(name: str) -> bytes:
    if not is_token(name):
        raise ValueError(
            f"{name!r} is not a header name: RFC 9110 section 5.1 allows letters, digits and characters such as -_.~"
        )
    key = name.encode("ascii")
    if key.lower() in FRAMING:
        raise ValueError(f"the server writes the header {name!r} itself")
    if len(_names) < MAX_NAMES:
        _names[name] = key
    return key


def text_pairs(fields: FieldsLike | Iterable[Field]) -> Iterator[tuple[str, str]]:
    """Yield names and values as texts; several fields of one name stay several."""
    if isinstance(fields, Headers):
        fields = fields.raw
    for name, value in fields.items() if isinstance(fields, Mapping) else fields:
        yield _text(name), _text(value)


def _text(part: str | bytes) -> str:
    return part.decode("latin-1") if isinstance(part, bytes) else part


class Headers(MutableMapping[str, str]):
    """Header fields: a mapping with case-insensitive names (RFC 9110 section 5.1).

    Values are texts, in Latin-1; the values of several fields with the same name are joined with a comma (section
    5.3). Iteration yields each name once, in lower case, in the order of the fields. `headers[name] = value` replaces
    all fields of a name, `add` adds one more.

    :param fields: names and values: a mapping, or pairs
    :raises ValueError: a name or a value that HTTP does not allow, or a field that the server writes itself (Date,
        Content-Length, Transfer-Encoding, Connection); also raised by whatever sets a field
    """

    __slots__ = ("raw",)

    raw: list[Field]
    """The fields in order: pairs of a name and a value, as bytes. Names are in lower case if they were received, else
    as the application wrote them."""

    def __init__(self, fields: FieldsLike | Iterable[Field] = ()) -> None:
        self.raw = []
        if fields:  # PERF: most errors have none
            for name, value in text_pairs(fields):
                self.add(name, value)

    @classmethod
    def over(cls, raw: list[Field]) -> Self:
        """Return a view of a list of fields, which is not copied and not checked."""
        headers = cls.__new__(cls)
        headers.raw = raw
        return headers

    def getlist(self, name: str) -> list[str]:
        """Return the values of all fields with this name, in order; [] if there is none."""
        key = _key(name)
        return [value.decode("latin-1") for n, value in self.raw if n.lower() == key]

    def add(self, name: str, value: str) -> None:
        """Add a field, after those that have the same name.

        :raises ValueError: as the class says; a second Content-Type
        """
        field = field_of(name, value)
        if len(name) == len(CONTENT_TYPE) and field[0].lower() == CONTENT_TYPE and name in self:
            raise ValueError('a response has only one Content-Type: replace it with headers["content-type"] = ...')
        self.raw.append(field)

    def append(self, field: tuple[str | bytes, str | bytes]) -> None:
        """Add a field that is a pair; a Content-Type replaces the one that is there.

        :raises ValueError: as the class says
        """
        name, value = field
        if _key(_text(name)) == CONTENT_TYPE:
            self[_text(name)] = _text(value)
        else:
            self.add(_text(name), _text(value))

    def extend(self, fields: FieldsLike | Iterable[Field]) -> None:
        """Add fields; see `append`."""
        for field in text_pairs(fields):
            self.append(field)

    def __iadd__(self, fields: FieldsLike | Iterable[Field]) -> Self:
        self.extend(fields)
        return self

    def __setitem__(self, name: str, value: str) -> None:
        field = field_of(name, value)
        key = field[0].lower()
        at = [index for index, (n, _) in enumerate(self.raw) if n.lower() == key]
        if not at:
            self.raw.append(field)
            return
        self.raw[at[0]] = field
        for index in reversed(at[1:]):
            del self.raw[index]

    def __delitem__(self, name: str) -> None:
        key = _key(name)
        kept = [field for field in self.raw if field[0].lower() != key]
        if len(kept) == len(self.raw):
            raise KeyError(name)
        self.raw[:] = kept

    def __getitem__(self, name: str) -> str:
        values = self.getlist(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __contains__(self, name: object) -> bool:
        key = _key(name)
        return any(n.lower() == key for n, _ in self.raw)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1").lower() for name, _ in self.raw))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.raw}) if self.raw else 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.raw!r})"


class ReceivedHeaders(Headers):
    """The header fields of a request, or of a part of its body: `Headers` that are read-only.

    :param raw: the fields in order, names in lower case
    """

    __slots__ = ()

    def __init__(self, raw: list[Field]) -> None:
        self.raw = raw

    def getlist(self, name: str) -> list[str]:
        """See `Headers`."""
        key = _key(name)
        return [value.decode("latin-1") for n, value in self.raw if n == key]

    def __contains__(self, name: object) -> bool:
        key = _key(name)
        return any(n == key for n, _ in self.raw)

    def add(self, name: str, _value: str) -> NoReturn:
        """Refuse.

        :raises TypeError: always
        """
        raise TypeError(
            f"the header {name!r} cannot be changed: headers that were received are read-only; those of a response "
            "are response.headers"
        )

    def __setitem__(self, name: str, value: str) -> None:
        self.add(name, value)

    def __delitem__(self, name: str) -> None:
        self.add(name, "")

    def append(self, field: tuple[str | bytes, str | bytes]) -> None:
        """Refuse; see `add`."""
        self.add(_text(field[0]), "")


def _key(name: object) -> bytes | None:
    if not isinstance(name, str):
        return None
    try:
        return name.lower().encode("ascii")
    except UnicodeEncodeError:  # field names are ASCII
        return None


class MultiDict(Mapping[str, Any]):
    """A mapping whose keys may have several values: `[]` and `get` return the first, `getlist` all of them.

    :param pairs: in order
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self._values: dict[str, list[Any]] = {}
        for key, value in pairs:
            self._values.setdefault(key, []).append(value)

    def getlist(self, key: str) -> list[Any]:
        """Return all values of a key, in order; [] if there is none."""
        return list(self._values.get(key, ()))

    def get(self, key: str, default: Any = None) -> Any:
        """Return the first value of a key, or the default."""
        values = self._values.get(key)
        return default if values is None else values[0]

    def __getitem__(self, key: str) -> Any:
        return self._values[key][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r})"


def parse_query(text: str) -> MultiDict:
    """Return the fields of a query, as `urllib.parse.parse_qsl` parses them, including blank values.

    :raises HTTPError: 400, more than `MAX_QUERY_FIELDS`
    """
    if text.count("&") >= MAX_QUERY_FIELDS:
        from .errors import HTTPError  # noqa: PLC0415 - an HTTPError has Headers

        raise HTTPError(400, f"a query has at most {MAX_QUERY_FIELDS} fields")
    if "%" in text or "+" in text:
        return MultiDict(parse_qsl(text, keep_blank_values=True))
    # PERF: a third of the time, where nothing is encoded.
    pairs = [part.partition("=") for part in text.split("&") if part]
    return MultiDict([(name, value) for name, _, value in pairs])


def parse_cookies(values: Iterable[str]) -> dict[str, str]:
    """Return the cookies of Cookie headers (RFC 6265 section 4.2.1); invalid pairs are skipped.

    Of several cookies with the same name the first counts: clients send the one with the longest path first (section
    5.4). Quotes around a value are not part of it.
    """
    cookies: dict[str, str] = {}
    for pair in ";".join(values).split(";"):
        name, equals, value = pair.partition("=")
        name, value = name.strip(" \t"), value.strip(" \t")
        if not equals or not name:
            continue
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        cookies.setdefault(name, value)
    return cookies
