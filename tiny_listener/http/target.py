"""From a request target to the text of an event: percent-decoding after RFC 3986."""

from __future__ import annotations

import re
from typing import Any

from .errors import ProtocolError

__all__ = ["SLASH", "path_of", "unmask"]

SLASH = "\udc2f"
"""Stands for an encoded slash (`%2F`) while the path is matched, so that it never splits a segment. A lone
surrogate: no text that was decoded from UTF-8 has one."""

ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")


def path_of(target: str) -> str:
    """Return the decoded path of a request target (visible ASCII characters), without its query.

    :raises ProtocolError: 400 for a target that is neither in origin-form nor in absolute-form, a malformed
        escape, or escapes that are not UTF-8
    """
    path, _, _ = target.partition("?")
    if not path.startswith("/"):
        path = _from_absolute_form(path)
    if "#" in path:
        raise ProtocolError(400, "a request target has no fragment")
    return _decode(path) if "%" in path else path


def _from_absolute_form(target: str) -> str:
    # RFC 9112 section 3.2.2: a server must accept it. The scheme is not checked further: we serve every authority.
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() in ("http", "https") and not rest.startswith("/") and rest:
        _, slash, path = rest.partition("/")
        return slash + path or "/"
    if target == "*":
        return target
    raise ProtocolError(400, "a request target begins with a slash")


def _decode(path: str) -> str:
    pieces = re.split("%2[Ff]", path)
    try:
        return SLASH.join(ESCAPE.sub(_byte, piece.encode("ascii")).decode("utf-8") for piece in pieces)
    except UnicodeDecodeError:
        raise ProtocolError(400, "the escapes of a request target decode to UTF-8") from None


def _byte(match: re.Match[bytes]) -> bytes:
    if match[1] is None:
        raise ProtocolError(400, "% in a request target is followed by two hexadecimal digits")
    return bytes.fromhex(match[1].decode("ascii"))


def unmask(params: dict[str, Any]) -> dict[str, Any]:
    """Put slashes where their stand-ins are in the values of path parameters."""
    return {k: v.replace(SLASH, "/") if isinstance(v, str) else v for k, v in params.items()}
