"""The Set-Cookie header (RFC 6265 section 4.1). Pure."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import formatdate
from typing import Literal, TypeAlias

__all__ = ["SameSite", "set_cookie_value"]

SameSite: TypeAlias = Literal["strict", "lax", "none"]

NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
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

    :raises ValueError: what RFC 6265 section 4.1.1 does not allow, or what clients would not keep
    """
    if NAME.match(name) is None:
        raise ValueError(f"{name!r} is no name of a cookie: RFC 6265 allows letters, digits and -_.~ and the like")
    if VALUE.match(value) is None:
        raise ValueError(
            f"the value of the cookie {name!r} has a character that RFC 6265 does not allow: {value!r}; "
            "encode it, for example by urllib.parse.quote"
        )
    _check_promises(name, path=path, domain=domain, secure=secure, samesite=samesite)
    parts = [f"{name}={value}"]
    if max_age is not None:
        if not isinstance(max_age, int) or max_age < 0:
            raise ValueError(f"max_age is a number of seconds, 0 or more, not {max_age!r}")
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
    """Refuse what clients drop without a word (draft-ietf-httpbis-rfc6265bis sections 4.1.2.7 and 4.1.3)."""
    if samesite is not None and samesite not in SAME_SITE:
        raise ValueError(f"samesite is 'strict', 'lax', 'none' or None, not {samesite!r}")
    if samesite == "none" and not secure:
        raise ValueError("a cookie with samesite='none' is kept by clients only with secure=True")
    prefix = name.lower()
    if prefix.startswith(("__secure-", "__host-")) and not secure:
        raise ValueError(f"the cookie {name!r} is kept by clients only with secure=True")
    if prefix.startswith("__host-") and (path != "/" or domain is not None):
        raise ValueError(f"the cookie {name!r} is kept by clients only with path='/' and no domain")


def _scope(path: str | None, domain: str | None) -> list[str]:
    parts = []
    if path is not None:
        if PATH.match(path) is None:
            raise ValueError(f"the path of a cookie begins with a slash, and has no semicolon: {path!r}")
        parts.append(f"Path={path}")
    if domain is not None:
        if DOMAIN.match(domain) is None:
            raise ValueError(f"the domain of a cookie is the name of a host: {domain!r}")
        parts.append(f"Domain={domain}")
    return parts


def _seconds(expires: datetime | float) -> float:
    if not isinstance(expires, datetime):
        return expires
    if expires.tzinfo is None:
        raise ValueError("expires is a datetime with a time zone, such as datetime.now(timezone.utc)")
    return expires.timestamp()
