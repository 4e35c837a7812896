"""The response: what a handler's value becomes, and its bytes on the wire."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import msgspec

__all__ = ["Response", "as_response", "head_bytes", "json_bytes"]

Headers: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
STATUS_LINES: Final = {
    code: f"HTTP/1.1 {code} {HTTPStatus(code).phrase if code in HTTPStatus._value2member_map_ else ''}\r\n".encode()
    for code in range(200, 600)
}
NO_CONTENT = frozenset({204, 304})
FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date"})
"""Headers that the server writes itself: it alone knows how the response is framed."""

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"
BYTES = b"application/octet-stream"


class Response:
    """An HTTP response.

    :param body: bytes, a text (sent as UTF-8), or an async iterator of such (sent in chunks as they come)
    :param status: 200 to 599
    :param headers: further header fields
    :param content_type: of the body; by default plain text for a text, octets otherwise
    :raises ValueError: a header's name or value, or the status, that HTTP does not allow, or a header that
        the server writes itself
    """

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        body: bytes | str | AsyncIterator[bytes | str] = b"",
        status: int = 200,
        headers: Headers = (),
        content_type: str | None = None,
    ) -> None:
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"a response's status is a number from 200 to 599, not {status!r}")
        self.status = int(status)
        if content_type is not None:
            self.content_type = _field("content-type", content_type)[1]
        elif isinstance(body, bytes):
            self.content_type = BYTES
        else:
            self.content_type = TEXT
        self.body = body.encode() if isinstance(body, str) else body
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        self.headers = [self._own(name, value) for name, value in pairs] if pairs else []

    @staticmethod
    def _own(name: str, value: str) -> tuple[bytes, bytes]:
        field = _field(name, value)
        if field[0].lower() in FRAMING:
            raise ValueError(f"the server writes the header {name!r} itself")
        return field

    def __repr__(self) -> str:
        return f"Response(status={self.status}, content_type={self.content_type.decode()!r})"


def _field(name: str, value: str) -> tuple[bytes, bytes]:
    if TOKEN.match(name) is None:
        raise ValueError(
            f"{name!r} is no name of a header: RFC 9110 section 5.1 allows letters, digits and -_.~ and the like"
        )
    if FIELD_VALUE.match(value) is None:
        raise ValueError(f"the value of the header {name!r} has a control character: {value!r}")
    try:
        return name.encode("ascii"), value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the value of the header {name!r} has a character beyond Latin-1: {value!r}") from None


def _text(text: str) -> Response:
    response = Response.__new__(Response)
    response.status = 200
    response.content_type = TEXT
    response.body = text.encode()
    response.headers = []
    return response


json_bytes = msgspec.json.Encoder().encode


def as_response(value: Any) -> Response:
    """Return the response that a handler's value stands for.

    None is 204; texts and bytes are bodies; an async iterator is streamed; dicts, lists, dataclasses, msgspec
    Structs, numbers and booleans are JSON.

    :raises TypeError: nothing of the kind
    """
    if type(value) is str:  # PERF: what most handlers return needs no check
        return _text(value)
    if isinstance(value, Response):
        return value
    if value is None:
        return Response(status=204)
    if isinstance(value, (str, bytes)):
        return Response(value)
    if isinstance(value, AsyncIterator):
        return Response(value)
    if isinstance(value, (bytearray, memoryview)):
        return Response(bytes(value))
    if isinstance(value, (dict, list, tuple, int, float, msgspec.Struct)) or dataclasses.is_dataclass(value):
        response = Response(json_bytes(value))
        response.content_type = JSON
        return response
    raise TypeError(
        f"a handler returned {type(value).__name__}, which is no response: return str, bytes, dict, list, a dataclass, "
        "None, a Response or an async iterator"
    )


class _Date:
    """The Date header's line, made anew once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line


_date = _Date()


def head_bytes(response: Response, *, close: bool, length: int | None, version: int) -> bytes:
    """Return the bytes of a response's head.

    :param close: whether the connection ends after it
    :param length: of the body in bytes; None for a body in chunks (or, in HTTP/1.0, until the connection's end)
    :param version: the minor version of the request
    """
    parts = [STATUS_LINES[response.status], _date.line()]
    if response.status not in NO_CONTENT:
        parts += (b"content-type: ", response.content_type, b"\r\n")
        if length is not None:
            parts.append(b"content-length: %d\r\n" % length)
        elif version == 1:
            parts.append(b"transfer-encoding: chunked\r\n")
    for name, value in response.headers:
        parts += (name, b": ", value, b"\r\n")
    if close:
        parts.append(b"connection: close\r\n")
    elif version == 0:
        parts.append(b"connection: keep-alive\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)
