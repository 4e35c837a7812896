"""Access to the admin endpoint: by token, if one is configured."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode

__all__ = ["challenges", "is_allowed"]

REALM = 'realm="tiny-listener"'


def is_allowed(authorization: str | None, token: bytes) -> bool:
    """Whether the value of an Authorization field (RFC 9110, 11.6.2) carries the token.

    Either as `Bearer TOKEN` (RFC 6750, 2.1), or as the password of `Basic` (RFC 7617) with any user: browsers prompt
    for that. The comparison takes constant time, so that its duration does not reveal how much of a token is right.
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
    """Return the WWW-Authenticate fields of a 401 response (RFC 9110, 11.6.1).

    :param destination: the request's Sec-Fetch-Dest; None: the client is not a browser. Scripts are not challenged for
        `Basic`: the browser would prompt for a password on every poll.
    """
    fields = [("www-authenticate", f"Bearer {REALM}")]
    if destination in (None, "document"):
        fields.append(("www-authenticate", f'Basic {REALM}, charset="UTF-8"'))
    return fields
