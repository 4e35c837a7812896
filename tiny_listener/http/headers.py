"""The parts of a request other than its body, as mappings of texts: header fields, the query, cookies. Pure functions.

Each parses its input when asked, and does not modify it: the bytes stay available as they were sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from .errors import HTTPError

__all__ = ["MAX_QUERY_FIELDS", "Field", "Headers", "MultiDict", "parse_cookies", "parse_query"]

Field: TypeAlias = tuple[bytes, bytes]
"""A header field: its name in lower case and its value, as received."""
MAX_QUERY_FIELDS = 1000
"""Maximum number of fields in a query: Django's DATA_UPLOAD_MAX_NUMBER_FIELDS. A request line of 8 KiB has room for
more."""


class Headers(Mapping[str, str]):
    """Header fields: a mapping with case-insensitive names (RFC 9110 section 5.1).

    Values are decoded as Latin-1; the values of several fields with the same name are joined with a comma (section
    5.3). Iteration yields each name once, in lower case, in the order in which they were sent.

    :param raw: the fields in order, names in lower case
    """

    __slots__ = ("raw",)

    def __init__(self, raw: list[Field]) -> None:
        self.raw = raw
        """The fields in order: pairs of a name in lower case and a value, as bytes."""

    def getlist(self, name: str) -> list[str]:
        """Return the values of all fields with this name, in order; [] if there is none."""
        key = _key(name)
        return [value.decode("latin-1") for n, value in self.raw if n == key]

    def __getitem__(self, name: str) -> str:
        values = self.getlist(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __contains__(self, name: object) -> bool:
        key = _key(name)
        return any(n == key for n, _ in self.raw)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1") for name, _ in self.raw))

    def __len__(self) -> int:
        return len({name for name, _ in self.raw})

    def __repr__(self) -> str:
        return f"Headers({self.raw!r})"


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
    try:
        return MultiDict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        raise HTTPError(400, f"a query has at most {MAX_QUERY_FIELDS} fields") from None


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
