"""What the access log knows of a response, as text that cannot end a line or leave its quotes."""

from __future__ import annotations

import base64
import binascii
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..request import Request

__all__ = ["Entry", "quotable"]

UNSAFE = re.compile(r'[^\x20-\x7e]|["\\]')
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""In the common log format they are English, whatever the locale."""


def quotable(text: str) -> str:
    r"""Return a text of a client as it may stand within quotes.

    A quote and a backslash get a backslash before them, other characters than printable ASCII become `\x1b`, `\u2028`:
    Apache's form.
    """
    return UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if char in '"\\':
        return f"\\{char}"
    return char.encode("unicode_escape").decode() if char not in "\n\r\t" else f"\\x{ord(char):02x}"


class Entry:
    """One response.

    :param request: its request
    :param status: its status code
    :param seconds: from the request's head to the end of the response, or to its last byte being ready to be written
    :param first: its first bytes: all of its head, and perhaps its body
    :param sent: bytes of its body that were sent after those, without the framing of chunks
    """

    __slots__ = ("_head", "request", "seconds", "size", "status")

    def __init__(self, request: Request, status: int, seconds: float, first: bytes, sent: int = 0) -> None:
        self.request = request
        self.status = status
        self.seconds = seconds
        end = first.find(b"\r\n\r\n")
        self._head = first[:end]
        self.size = len(first) - end - 4 + sent

    @property
    def client(self) -> str:
        """Address and port (RFC 5952 section 6), or `-` for a unix socket."""
        client = self.request.client
        if client is None:
            return "-"
        host, port = client
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def host(self) -> str:
        """The address alone."""
        client = self.request.client
        return "-" if client is None else client[0]

    @property
    def request_line(self) -> str:
        """As the client sent it; `-` for the method of one that could not be read."""
        request = self.request
        return f"{request.method or '-'} {quotable(request.target)} HTTP/{request.http_version}"

    @property
    def phrase(self) -> str:
        """The reason phrase of the status; "" for one that has none."""
        return HTTPStatus(self.status).phrase if self.status in HTTPStatus._value2member_map_ else ""

    @property
    def user(self) -> str:
        """The user of HTTP Basic (RFC 7617), who may be anybody unless the application checks the password."""
        scheme, _, credentials = (self.request.header("authorization") or "").partition(" ")
        if scheme.lower() != "basic":
            return "-"
        try:
            text = base64.b64decode(credentials.strip(), validate=True).decode("utf-8", "backslashreplace")
        except (binascii.Error, ValueError):
            return "-"
        return quotable(text.partition(":")[0]) or "-"

    def sent(self, name: str) -> str:
        """Return a header field of the request; `-` if it has none."""
        value = self.request.header(name)
        return "-" if value is None else quotable(value)

    def answered(self, name: str) -> str:
        """Return a header field of the response, several joined with a comma; `-` if it has none."""
        start = f"{name}:".encode()
        values = [line[len(start) :] for line in self._head.split(b"\r\n")[1:] if line[: len(start)].lower() == start]
        return quotable(", ".join(value.strip().decode("latin-1") for value in values)) if values else "-"

    def time(self) -> str:
        """Return the local time, as in the common log format: `[28/Nov/2026:01:11:44 +0000]`."""
        now = time.localtime()
        return time.strftime(f"[%d/{MONTHS[now.tm_mon - 1]}/%Y:%H:%M:%S %z]", now)
