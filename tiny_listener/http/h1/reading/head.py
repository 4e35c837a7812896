"""The head of a request: its request line and its limits (RFC 9112 section 3). Pure functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import ProtocolError
from ...syntax import TOKEN as TEXT_TOKEN
from ...target import is_authority
from .fields import read_fields

if TYPE_CHECKING:
    from ...headers import Field
    from ...settings import HTTPSettings

__all__ = [
    "TOKEN",
    "Head",
    "after_empty_lines",
    "check_sizes",
    "header_too_long",
    "headers_too_long",
    "is_head_request",
    "line_too_long",
    "read_line",
    "too_many_fields",
]

TOKEN = TEXT_TOKEN.encode() + b"+"
"""RFC 9110 section 5.6.2."""
REQUEST_LINE = re.compile(rb"(%b) ([\x21-\x7e]++) HTTP/([0-9]\.[0-9])\r\n" % TOKEN)
"""RFC 9112 section 3."""
HEAD_LINE = re.compile(rb"(?:\r\n)*+HEAD ")
KNOWN_LINE = b"GET / HTTP/1.%d\r\n"
"""Passed to llhttp instead of a request line that it may not know."""


class Head:
    """The head of a request.

    :ivar method: as sent
    :ivar target: the request target as sent: visible ASCII characters
    :ivar version: minor version, 0 or 1; a later one is treated as 1 (RFC 9110 section 6.2)
    :ivar raw: the bytes of the head; its request line may have been replaced
    """

    # NOTE: reading a default of the class costs four times as much as an attribute of the instance. These are read only
    # if `is_plain`, which is set on the instance if it holds, is not sufficient.
    is_plain = False
    """Whether it is HTTP/1.1, and no part of a body is still to come."""
    keep_alive = True
    """Whether the client wants to keep the connection open."""
    length: int | None = 0
    """Bytes of the body; 0 without one, None if it is chunked."""
    expects_continue = False
    """Whether the client waits for `100 Continue` before it sends the body."""
    content: bytes | None = b""
    """The whole body, if it came together with the head; None if it is still to come."""
    _fields: list[Field] | None = None

    def __init__(self, method: str, target: str, version: int, raw: bytes) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.raw = raw

    @property
    def fields(self) -> list[Field]:
        """The header fields in order: pairs of a name in lower case and a value, as bytes."""
        if self._fields is None:
            self._fields = read_fields(self.raw)
        return self._fields

    @fields.setter
    def fields(self, fields: list[Field]) -> None:
        self._fields = fields


def read_line(head: bytes, settings: HTTPSettings) -> tuple[str, str, int, bytes]:
    """Parse a request line: return method, target, minor version, and the head as llhttp accepts it.

    :raises ProtocolError: 400, 414, 501, 505
    """
    line_end = head.find(b"\r\n")
    match = REQUEST_LINE.match(head)
    if match is None or line_end + 2 > settings.max_request_line:
        raise _bad_line(line_end + 2, settings)
    method, target, version = match.groups()
    if version[:2] != b"1.":
        raise ProtocolError(505, "this server speaks HTTP/1.1 and HTTP/1.0")
    if method == b"CONNECT":
        raise _refusal_of_tunnel(target)
    minor = int(version != b"1.0")
    # llhttp knows the registered methods only, and refuses others.
    fed = KNOWN_LINE % minor + head[line_end + 2 :]
    return method.decode("ascii"), target.decode("ascii"), minor, fed


def _refusal_of_tunnel(target: bytes) -> ProtocolError:
    """Return why a CONNECT is rejected: 501, because this is not a proxy and no route supports the method (RFC 9110
    sections 9.1 and 9.3.6); 400 for a target that is not a host with a port. What follows is never parsed as requests.
    """
    port = target.rpartition(b":")[2]
    if not is_authority(target) or not port.isdigit() or not 0 < int(port) < 65536:
        return ProtocolError(400, "the target of CONNECT must be a host and a port")
    return ProtocolError(501, "this server is not a proxy, and opens no tunnels")


def check_sizes(head: bytes, settings: HTTPSettings) -> None:
    """Check a whole head, well-formed or not, against the limits.

    Each line counts with its CRLF; the empty one at the end does not count.

    :raises ProtocolError: 414, 431
    """
    count = head.count(b"\n") - 2  # of its lines, the first is the request line and the last is empty
    if count > settings.max_header_fields:
        raise too_many_fields(settings)
    if len(head) <= min(settings.max_request_line, settings.max_headers, settings.max_header):
        return
    line_size = head.find(b"\r\n") + 2
    if line_size > settings.max_request_line:
        raise line_too_long(settings)
    if len(head) - line_size - 2 > settings.max_headers:
        raise headers_too_long(settings)
    if max(map(len, head[line_size:].split(b"\r\n"))) + 2 > settings.max_header:
        raise header_too_long(settings)


def is_head_request(buffer: bytes, start: int) -> bool:
    """Whether the request that begins here, well-formed or not, is a HEAD."""
    return HEAD_LINE.match(buffer, start) is not None


def after_empty_lines(buffer: bytes, start: int) -> int:
    """Return the position after empty lines."""
    # RFC 9112 section 2.2: ignore one before a request. Ignore all, or the result would depend on how they were split.
    while buffer.startswith(b"\r\n", start):
        start += 2
    return start


def _bad_line(size: int, settings: HTTPSettings) -> ProtocolError:
    if size > settings.max_request_line:
        return line_too_long(settings)
    return ProtocolError(400, "malformed request line; it must be METHOD TARGET HTTP/1.1")


def line_too_long(settings: HTTPSettings) -> ProtocolError:
    """Return the error for the request line."""
    return ProtocolError(414, f"the request line is longer than {settings.max_request_line} bytes")


def header_too_long(settings: HTTPSettings) -> ProtocolError:
    """Return the error for one header line."""
    return ProtocolError(431, f"a header is longer than {settings.max_header} bytes")


def headers_too_long(settings: HTTPSettings) -> ProtocolError:
    """Return the error for all header lines together."""
    return ProtocolError(431, f"the headers are longer than {settings.max_headers} bytes")


def too_many_fields(settings: HTTPSettings) -> ProtocolError:
    """Return the error for the number of header lines."""
    return ProtocolError(431, f"more than {settings.max_header_fields} header fields")
