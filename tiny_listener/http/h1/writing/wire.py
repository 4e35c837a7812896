"""The bytes of responses on the wire (RFC 9112 sections 4 to 7). Pure, but for the clock."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

from ...response import FRAMING, NO_CONTENT, TOKEN, DeferredResponse, Response, as_body

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

BYTES_TOKEN = re.compile(TOKEN.pattern.encode())
STATUS_LINES: Final = {
    code: f"HTTP/1.1 {code} {HTTPStatus(code).phrase if code in HTTPStatus._value2member_map_ else ''}\r\n".encode()
    for code in range(200, 600)
}
LENGTHS: Final = [b"%d\r\n\r\n" % length for length in range(4096)]
"""How the heads of responses with most lengths end. PERF: to write a number takes longer than to find it."""


class _Clock:
    """The Date header's line, as of the last tick, and what begins with it."""

    def __init__(self) -> None:
        self._second = 0
        self.date = b""
        self.starts: dict[tuple[int, bytes], bytes] = {}
        """How heads begin, by status and content type, up to the digits of the content's length."""
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
"""Look at the clock: to be called at least once a second while there are responses."""


def plain_bytes(start: tuple[int, bytes], body: bytes) -> bytes:
    """Return the bytes of a response with no headers but the usual.

    :param start: status and content type: one of a few, for what they begin with is kept
    """
    try:
        return b"".join((_clock.starts[start], LENGTHS[len(body)], body))
    except (KeyError, IndexError):
        return b"%b%d\r\n\r\n%b" % (_clock.start(*start), len(body), body)


def closing(whole: bytes) -> bytes:
    """Return the bytes of a response that says it is the connection's last (RFC 9112 section 9.6).

    :param whole: of one that does not, by `plain_bytes` or `whole_response`
    """
    return whole.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)


def whole_response(value: Any) -> tuple[int, bytes] | None:
    """Return the status and the bytes of the response that a handler's value stands for, to a request of HTTP/1.1.

    :returns: None for a response that comes in pieces, or that is still to be prepared
    :raises Exception: the value, or what the application made of a response, has no bytes
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

    :param close: whether the connection ends after it
    :param length: of the body in bytes; None for a body in chunks (or, in HTTP/1.0, until the connection's end)
    :param version: the minor version of the request
    :raises TypeError: the response was changed to what cannot be written: a text where bytes are to be
    :raises ValueError: the same: a status that HTTP does not have, a line break within a field, a field that the server
        writes itself
    """
    status, content_type, headers = response.status, response.content_type, response.headers
    if status not in STATUS_LINES:
        raise ValueError(f"a response's status is a number from 200 to 599, not {status!r}")
    fields: list[bytes] = []
    for name, value in headers:
        kind = _kinds.get(name) or _kind_of(name)
        if kind == "ours":
            raise ValueError(f"the server writes the header {name!r} itself")
        if kind == "content-type":
            content_type = value
        else:
            fields += (name, b": ", value, b"\r\n")
    lines = 3 + len(fields) // 4
    if status in NO_CONTENT:
        parts = [STATUS_LINES[status], _clock.date]
    else:
        parts = [STATUS_LINES[status], _clock.date, b"content-type: ", content_type, b"\r\n"]
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
    # The wall: whatever the fields were changed to, no line is on the wire but those that were counted here.
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise ValueError("a header field of the response has a line break or a NUL in it")
    return head


_kinds: dict[bytes, str] = {}
"""What names of headers are, by their bytes, of those that were looked at. PERF: applications use few."""
MAX_KINDS = 1000


def _kind_of(name: bytes) -> str:
    """Return what a header is: `ours`, which the server writes itself, `content-type`, or `theirs`.

    :raises ValueError: HTTP has no such name
    :raises TypeError: it is not bytes
    """
    if type(name) is not bytes:
        raise TypeError(f"the name of a header that was added is bytes, not {type(name).__name__}")
    if BYTES_TOKEN.match(name) is None:
        raise ValueError(f"{name!r} is no name of a header: see RFC 9110 section 5.1")
    low = name.lower()
    kind = "ours" if low in FRAMING else "content-type" if low == b"content-type" else "theirs"
    if len(_kinds) < MAX_KINDS:
        _kinds[name] = kind
    return kind


def content_of(response: Response) -> bytes | None:
    """Return the whole body of a response; None when it comes in pieces.

    :raises TypeError: the body was changed to what is none
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
    """Return the bytes that a body says it has, by its `length`; None where it does not say.

    :raises ValueError: it says what is no number of bytes
    """
    length = getattr(body, "length", None)
    if length is not None and (type(length) is not int or length < 0):
        raise ValueError(f"the length of a body is 0 or more bytes, or None where it is not known, not {length!r}")
    return length


def first_bytes(response: Response, method: str, version: int, *, close: bool) -> tuple[bytes, bool, bool, int | None]:
    """Return the bytes of a response that is whole, or of the head of one that comes in pieces.

    :param method: of the request, and `version` its minor version
    :param close: whether the connection ends after the response
    :returns: the bytes; whether they are all of it; `close`, or True where only the connection's end tells the client
        where the body ends (RFC 9112 section 6.3); the length of a body in pieces, where it is announced
    :raises Exception: the response was changed to what cannot be written
    """
    content = content_of(response)
    if content is not None:
        head = head_bytes(response, close=close, length=len(content), version=version)
        has_body = method != "HEAD" and response.status not in NO_CONTENT
        return head + content if has_body else head, True, close, None
    length = announced_length(response.body)
    close = close or (version == 0 and length is None)
    return head_bytes(response, close=close, length=length, version=version), False, close, length
