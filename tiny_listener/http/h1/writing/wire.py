"""The bytes of responses on the wire (RFC 9112 sections 4 to 7). Pure functions, apart from the clock."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

from ...response import FRAMING, NO_CONTENT, DeferredResponse, Response, as_body
from ...syntax import TOKEN

__all__ = [
    "announced_length",
    "closing",
    "content_of",
    "first_bytes",
    "head_bytes",
    "plain_bytes",
    "tick",
    "whole_response",
]

BYTES_TOKEN = re.compile(TOKEN.encode())
STATUS_LINES: Final = {
    code: f"HTTP/1.1 {code} {HTTPStatus(code).phrase if code in HTTPStatus._value2member_map_ else ''}\r\n".encode()
    for code in range(200, 600)
}
LENGTHS: Final = [b"%d\r\n\r\n" % length for length in range(4096)]
"""The ends of response heads for most lengths. PERF: formatting a number takes longer than looking it up."""


class _Clock:
    """The line of the Date header as of the last tick, and everything that starts with it."""

    def __init__(self) -> None:
        self._second = 0
        self.date = b""
        self.starts: dict[tuple[int, bytes], bytes] = {}
        """First bytes of heads, by status and content type, up to the digits of the content length."""
        self.tick()

    def tick(self) -> None:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self.date = f"date: {formatdate(second, usegmt=True)}\r\n".encode()
            self.starts.clear()

    def start(self, status: int, content_type: bytes) -> bytes:
        start = b"%b%bcontent-type: %b\r\ncontent-length: " % (STATUS_LINES[status], self.date, content_type)
        self.starts[status, content_type] = start
        return start


_clock = _Clock()
tick = _clock.tick
"""Update the clock: call this at least once a second while there are responses."""


def plain_bytes(start: tuple[int, bytes], body: bytes) -> bytes:
    """Return the bytes of a response with only the standard headers.

    :param start: status and content type: one of a few, because their first bytes are cached
    """
    try:
        return b"".join((_clock.starts[start], LENGTHS[len(body)], body))
    except (KeyError, IndexError):
        return b"%b%d\r\n\r\n%b" % (_clock.start(*start), len(body), body)


def closing(whole: bytes) -> bytes:
    """Return the bytes of a response that announces to be the last on its connection (RFC 9112 section 9.6).

    :param whole: of a response that does not, from `plain_bytes` or `whole_response`
    """
    return whole.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)


def whole_response(value: Any) -> tuple[int, bytes] | None:
    """Return the status and the bytes of the response for a handler's value, to an HTTP/1.1 request.

    :returns: None for a response that comes in pieces, or that has to be prepared
    :raises Exception: the value, or the response as changed by the application, cannot be encoded
    """
    if value is None:
        return 204, b"%b%b\r\n" % (STATUS_LINES[204], _clock.date)
    if isinstance(value, Response):
        if isinstance(value, DeferredResponse) or (content := content_of(value)) is None:
            return None
        head = head_bytes(value, close=False, length=len(content), version=1)
        return value.status, head if value.status in NO_CONTENT else head + content
    pair = as_body(value)
    if pair is None:
        return None
    return pair[0][0], plain_bytes(*pair)


def head_bytes(response: Response, *, close: bool, length: int | None, version: int) -> bytes:
    """Return the bytes of a response's head.

    :param close: whether the connection closes after it
    :param length: of the body in bytes; None for a body in chunks (or, with HTTP/1.0, until the connection closes)
    :param version: minor version of the request
    :raises TypeError: the response was changed to something that cannot be written: a text instead of bytes
    :raises ValueError: the same: a status that HTTP does not have, a line break within a field, a field that the server
        writes itself
    """
    status, content_type = response.status, b""
    if status not in STATUS_LINES:
        raise ValueError(f"the status of a response must be from 200 to 599, not {status!r}")
    fields: list[bytes] = []
    for name, value in response.fields:
        kind = _kinds.get(name) or _kind_of(name)
        if kind == "ours":
            raise ValueError(f"the server writes the header {name!r} itself")
        if kind == "content-type":
            content_type = value
        else:
            fields += (name, b": ", value, b"\r\n")
    lines = 3 + len(fields) // 4
    parts = [STATUS_LINES[status], _clock.date]
    if status not in NO_CONTENT:
        if content_type:
            parts += (b"content-type: ", content_type, b"\r\n")
            lines += 1
        if length is not None:
            parts.append(b"content-length: %d\r\n" % length)
            lines += 1
        elif version == 1:
            parts.append(b"transfer-encoding: chunked\r\n")
            lines += 1
    parts += fields
    if close:
        parts.append(b"connection: close\r\n")
        lines += 1
    elif version == 0:
        parts.append(b"connection: keep-alive\r\n")
        lines += 1
    parts.append(b"\r\n")
    head = b"".join(parts)
    # Isolation: whatever the fields were changed to, only the lines counted here are written.
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise ValueError("a header field of the response contains a line break or a NUL")
    return head


_kinds: dict[bytes, str] = {}
"""The kinds of header names, by their bytes, of those seen so far. PERF: applications use few."""
MAX_KINDS = 1000


def _kind_of(name: bytes) -> str:
    """Return the kind of a header: `ours`, which the server writes itself, `content-type`, or `theirs`.

    :raises ValueError: it is not a valid header name
    :raises TypeError: it is not bytes
    """
    if type(name) is not bytes:
        raise TypeError(f"the name of an added header must be bytes, not {type(name).__name__}")
    if BYTES_TOKEN.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a header name: see RFC 9110 section 5.1")
    low = name.lower()
    kind = "ours" if low in FRAMING else "content-type" if low == b"content-type" else "theirs"
    if len(_kinds) < MAX_KINDS:
        _kinds[name] = kind
    return kind


def content_of(response: Response) -> bytes | None:
    """Return the whole body of a response; None if it comes in pieces.

    :raises TypeError: the body was changed to something invalid
    """
    body: Any = response.body
    if type(body) is bytes:
        return body
    if isinstance(body, AsyncIterator):
        return None
    pair = as_body(body)
    if pair is None:
        raise TypeError(f"a response's body was changed to {type(body).__name__}, which cannot be sent")
    return pair[1]


def announced_length(body: Any) -> int | None:
    """Return the number of bytes that a body announces with its `length`; None if it does not.

    :raises ValueError: it is not a number of bytes
    """
    length = getattr(body, "length", None)
    if length is not None and (type(length) is not int or length < 0):
        raise ValueError(f"the length of a body must be 0 or more bytes, or None if unknown, not {length!r}")
    return length


def first_bytes(response: Response, method: str, version: int, *, close: bool) -> tuple[bytes, bool, bool, int | None]:
    """Return the bytes of a complete response, or of the head of one that comes in pieces.

    :param method: of the request, and `version` its minor version
    :param close: whether the connection closes after the response
    :returns: the bytes; whether they are the complete response; `close`, or True if only the end of the connection
        tells the client where the body ends (RFC 9112 section 6.3); the announced length of a body in pieces
    :raises Exception: the response was changed to something that cannot be written
    """
    content = content_of(response)
    if content is not None:
        head = head_bytes(response, close=close, length=len(content), version=version)
        has_body = method != "HEAD" and response.status not in NO_CONTENT
        return head + content if has_body else head, True, close, None
    length = announced_length(response.body)
    close = close or (version == 0 and length is None)
    return head_bytes(response, close=close, length=length, version=version), False, close, length
