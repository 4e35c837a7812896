"""The Set-Cookie header (RFC 6265 section 4.1). Pure functions."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import formatdate
from typing import Literal, TypeAlias

from .syntax import is_token

__all__ = ["SameSite", "set_cookie_value"]

SameSite: TypeAlias = Literal["strict", "lax", "none"]

VALUE = re.compile(r"(\"?)[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*\1\Z")
PATH = re.compile(r"/[\x20-\x3a\x3c-\x7e]*\Z")
DOMAIN = re.compile(r"\.?[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?\Z")
SAME_SITE = {"strict": "Strict", "lax": "Lax", "none": "None"}


def set_cookie_value(
    name: str,
    value: str,
    *,
    max_age: int | None,
    expires: datetime | float | None,
    path: str | None,
    domain: str | None,
    secure: bool,
    httponly: bool,
    samesite: SameSite | None,
) -> str:
    """Return the value of a Set-Cookie header; for the arguments see `Response.set_cookie`.

    :raises ValueError: RFC 6265 section 4.1.1 does not allow it, or clients would not keep it
    """
    if not is_token(name):
        raise ValueError(f"{name!r} is not a cookie name: RFC 6265 allows letters, digits and characters such as -_.~")
    if VALUE.match(value) is None:
        raise ValueError(
            f"the value of the cookie {name!r} has a character that RFC 6265 does not allow: {value!r}; "
            "encode it, for example with urllib.parse.quote"
        )
    _check_promises(name, path=path, domain=domain, secure=secure, samesite=samesite)
    parts = [f"{name}={value}"]
    if max_age is not None:
        if not isinstance(max_age, int) or max_age < 0:
            raise ValueError(f"max_age must be a number of seconds, 0 or more, not {max_age!r}")
        parts.append(f"Max-Age={int(max_age)}")
    if expires is not None:
        parts.append(f"Expires={formatdate(_seconds(expires), usegmt=True)}")
    parts += _scope(path, domain)
    if secure:
        parts.append("Secure")
    if httponly:
        parts.append("HttpOnly")
    if samesite is not None:
        parts.append(f"SameSite={SAME_SITE[samesite]}")
    return "; ".join(parts)


def _check_promises(
    name: str, *, path: str | None, domain: str | None, secure: bool, samesite: SameSite | None
) -> None:
    """Reject what clients would silently drop (draft-ietf-httpbis-rfc6265bis sections 4.1.2.7 and 4.1.3)."""
    if samesite is not None and samesite not in SAME_SITE:
        raise ValueError(f"samesite must be 'strict', 'lax', 'none' or None, not {samesite!r}")
    if samesite == "none" and not secure:
        raise ValueError("clients keep a cookie with samesite='none' only with secure=True")
    prefix = name.lower()
    if prefix.startswith(("__secure-", "__host-")) and not secure:
        raise ValueError(f"clients keep the cookie {name!r} only with secure=True")
    if prefix.startswith("__host-") and (path != "/" or domain is not None):
        raise ValueError(f"clients keep the cookie {name!r} only with path='/' and no domain")


def _scope(path: str | None, domain: str | None) -> list[str]:
    parts = []
    if path is not None:
        if PATH.match(path) is None:
            raise ValueError(f"the path of a cookie must begin with a slash and have no semicolon: {path!r}")
        parts.append(f"Path={path}")
    if domain is not None:
        if DOMAIN.match(domain) is None:
            raise ValueError(f"the domain of a cookie must be a host name: {domain!r}")
        parts.append(f"Domain={domain}")
    return parts


def _seconds(expires: datetime | float) -> float:
    if not isinstance(expires, datetime):
        return expires
    if expires.tzinfo is None:
        raise ValueError("expires must be a datetime with a time zone, such as datetime.now(timezone.utc)")
    return expires.timestamp()
