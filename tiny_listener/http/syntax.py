"""Syntax that the whole of HTTP shares: tokens and methods."""

from __future__ import annotations

import re

__all__ = ["METHODS", "REGISTERED_METHODS", "TOKEN", "is_token"]

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - not of that kind
"""A token, as a pattern (RFC 9110 section 5.6.2): the names of fields, methods, cookies, parameters and media types."""
_TOKEN_ALONE = re.compile(TOKEN)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The methods that decorators exist for, and that a 501 or 405 may name."""
REGISTERED_METHODS = frozenset(METHODS) | {
    "ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "LABEL", "LINK", "LOCK", "MERGE",
    "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PROPFIND",
    "PROPPATCH", "QUERY", "REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK",
    "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
}  # fmt: skip
"""The methods of IANA's registry (RFC 9110 section 16.1.1)."""


def is_token(text: str) -> bool:
    """Return whether the whole of a text is a token."""
    return _TOKEN_ALONE.fullmatch(text) is not None
