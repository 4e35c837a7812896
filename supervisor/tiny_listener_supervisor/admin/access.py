"""Who may ask the admin endpoint: whoever has the token, where there is one."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode

__all__ = ["challenges", "is_allowed"]

REALM = 'realm="tiny-listener"'


def is_allowed(authorization: str | None, token: bytes) -> bool:
    """Whether the value of an Authorization field (RFC 9110, 11.6.2) carries the token.

    Either as `Bearer TOKEN` (RFC 6750, 2.1), or as the password of `Basic` (RFC 7617), of any user: that is what a
    browser asks people for. How long the comparison takes does not tell how much of a token is right.
    """
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    given = credentials.strip().encode("latin-1", "replace")
    match scheme.lower():
        case "bearer":
            return hmac.compare_digest(given, token)
        case "basic":
            try:
                _, _, password = b64decode(given, validate=True).partition(b":")
            except binascii.Error:
                return False
            return hmac.compare_digest(password, token)
    return False


def challenges(destination: str | None) -> list[tuple[str, str]]:
    """Return the WWW-Authenticate fields of a 401 (RFC 9110, 11.6.1).

    :param destination: the request's Sec-Fetch-Dest; None for clients that are no browser. Scripts of a page are not
        challenged for `Basic`, or the browser would ask people for a password each time that the page polls.
    """
    fields = [("www-authenticate", f"Bearer {REALM}")]
    if destination in (None, "document"):
        fields.append(("www-authenticate", f'Basic {REALM}, charset="UTF-8"'))
    return fields
