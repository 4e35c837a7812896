"""From a request target to the text of an event: its forms (RFC 9112 section 3.2), percent-decoding (RFC 3986); and to
the URL that it was sent for (RFC 9110 section 7.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Any

from .errors import ProtocolError

__all__ = ["SLASH", "URL", "authority_of", "host_and_port", "is_authority", "path_of", "unmask", "url_path_of"]

SLASH = "\udc2f"
"""Replaces an encoded slash (`%2F`) while the path is matched, so that it never splits a segment. A lone surrogate:
text decoded from UTF-8 never contains one."""

ABSOLUTE = re.compile(r"https?://([^/?]*)([^?]*)", re.IGNORECASE)
DIGITS = "0123456789abcdefABCDEF"
ESCAPED_BYTES = {high + low: bytes([int(high + low, 16)]) for high in DIGITS for low in DIGITS}
"""The byte for the two digits of an escape."""
SLASHES = ("2F", "2f")

AUTHORITY = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]+)\]|\[v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+\]"
    rb"|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?\Z"
)
"""A non-empty host and a port (RFC 3986 section 3.2). HTTP has no user information: RFC 9110 4.2.4."""
NAME = re.compile(r"[a-z0-9\-._~]+\Z|\[[0-9a-f:.]+\]\Z")
MAX_AUTHORITY = 300
"""Characters: a name has at most 253 (RFC 1035 section 2.3.4), and a port five."""


PORTS = {"http": 80, "https": 443}
"""The default ports of the schemes."""


@dataclass(frozen=True, slots=True)
class URL:
    """An absolute URL. `str(url)` is its text."""

    scheme: str
    """`http` or `https`."""
    host: str
    """In lower case; an IPv6 address without brackets."""
    port: int
    """That of the scheme, if none was given."""
    path: str
    """As sent, percent-encoded."""
    query: str = ""
    """As sent, without the question mark."""

    @property
    def authority(self) -> str:
        """Host and port, without a port that is the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}{'?' * bool(self.query)}{self.query}"


def host_and_port(text: str) -> tuple[str, int | None] | None:
    """Return the host, in lower case and without brackets, and the port of an authority; None if it is not valid.

    The port is None if there is none. A name has letters, digits and `-._~`: RFC 3986 allows more, which no name has
    that can be looked up, and which a page or a log may take for something else.
    """
    if len(text) > MAX_AUTHORITY or not text.isascii() or not is_authority(text.encode("ascii")):
        return None
    host, port = text.lower(), ""
    if text[-1] != "]":
        before, colon, after = text.lower().rpartition(":")
        host, port = (before, after) if colon else (after, "")
    if port and not 0 < int(port) < 65536:
        return None
    return (host.strip("[]"), int(port) if port else None) if NAME.match(host) else None


def url_path_of(target: str) -> str:
    """Return the path of a valid request target as it was sent; "" for the server itself (`OPTIONS *`)."""
    path = target.partition("?")[0]
    if path.startswith("/"):
        return path
    match = ABSOLUTE.match(target)
    return (match[2] or "/") if match is not None else ""


def path_of(method: str, target: str) -> str:
    """Return the decoded path of a request target (visible ASCII characters), without its query.

    :raises ProtocolError: 400 for a target that is neither in origin-form nor in absolute-form, nor in asterisk-form
        for OPTIONS; a fragment, a malformed escape, or escapes that are not UTF-8
    """
    if "#" in target:
        raise ProtocolError(400, "a request target has no fragment")
    path = target.partition("?")[0]
    if not path.startswith("/"):
        path = _from_other_form(method, target)
    return _decode(path) if "%" in path else path


def authority_of(target: str) -> str | None:
    """Return the authority of a target in absolute-form; None for other forms."""
    match = ABSOLUTE.match(target)
    return None if match is None else match[1]


def _from_other_form(method: str, target: str) -> str:
    if target == "*" and method == "OPTIONS":
        return target
    # RFC 9112 section 3.2.2: a server must accept it. The scheme is not checked further: we serve every authority.
    match = ABSOLUTE.match(target)
    if match is None:
        raise ProtocolError(400, "a request target begins with a slash, or with http:// and a host")
    if not is_authority(match[1].encode("ascii")):
        raise ProtocolError(400, "the authority of a request target is a host, and perhaps a port")
    # RFC 9110 section 4.2.3: an empty path is a slash. RFC 9112 section 3.2.4: but OPTIONS is then for the server.
    return match[2] or ("*" if method == "OPTIONS" and "?" not in target else "/")


def _decode(path: str) -> str:
    # PERF: a dictionary takes a third of the time of a regex with a function; a path may consist of escapes.
    first, *escaped = path.split("%")
    pieces = [first.encode("ascii")]
    decoded: list[str] = []
    try:
        for part in escaped:
            digits = part[:2]
            if digits in SLASHES:
                decoded.append(b"".join(pieces).decode("utf-8"))
                pieces = [part[2:].encode("ascii")]
            else:
                pieces += (ESCAPED_BYTES[digits], part[2:].encode("ascii"))
        decoded.append(b"".join(pieces).decode("utf-8"))
    except KeyError:
        raise ProtocolError(400, "% in a request target is followed by two hexadecimal digits") from None
    except UnicodeDecodeError:
        raise ProtocolError(400, "the escapes of a request target decode to UTF-8") from None
    return SLASH.join(decoded)


def unmask(params: dict[str, Any]) -> dict[str, Any]:
    """Restore the slashes in the values of path parameters."""
    return {k: v.replace(SLASH, "/") if isinstance(v, str) else v for k, v in params.items()}


def is_authority(text: bytes) -> bool:
    """Whether a text is a host with an optional port, as in a Host header or in an `http` URI."""
    match = AUTHORITY.match(text)
    if match is None:
        return False
    if match[1]:
        try:
            IPv6Address(match[1].decode("ascii"))
        except AddressValueError:
            return False
    return True
