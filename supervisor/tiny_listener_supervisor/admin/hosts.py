"""Host names that the admin endpoint answers to. Pure functions.

A page of any web site can make its own name resolve to 127.0.0.1 after it was loaded (DNS rebinding). Its scripts could
then read the admin endpoint from the browser of a user on this machine or network, because the browser considers it the
same site. But the browser still sends the site's name as Host (RFC 9110 section 7.2).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

__all__ = ["WRONG_HOST", "AllowedHosts"]

WRONG_HOST = (
    "this endpoint does not answer to that host name: use an address, or localhost, or start the server with the name "
    "in --admin-allowed-hosts"
)
LOCAL = "localhost"
_AUTHORITY = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::[0-9]*)?\Z")
"""The host and the port of a Host field (RFC 3986 section 3.2)."""


class AllowedHosts:
    """The values of Host that the endpoint answers to.

    Every address is allowed, because no DNS name is involved that someone else could change. So is `localhost`.

    :param names: host names in lower case; `*.web.internal` stands for every name below that one, `*` for any name
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {LOCAL, *(name.removesuffix(".") for name in names)}
        self._suffixes = tuple(name[1:] for name in self._names if name.startswith("*."))

    def allows(self, host: str | None) -> bool:
        """Whether a request with this Host is allowed.

        :param host: the field's value; None: the field is absent, which HTTP/1.0 allows and no browser does
        """
        if host is None or "*" in self._names:
            return True
        found = _AUTHORITY.match(host)
        if found is None:
            return False
        literal, name = found[1], (found[2] or "").lower().removesuffix(".")
        if literal is not None:
            return _is_address(literal, 6)
        return _is_address(name, 4) or name in self._names or name.endswith(self._suffixes)


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False
