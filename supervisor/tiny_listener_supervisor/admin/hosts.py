"""By which names the admin endpoint may be asked. Pure.

A page of any web site can have its own name resolve to 127.0.0.1, after it was loaded (DNS rebinding). Scripts of that
page then read what the admin endpoint says, in the browser of somebody on this machine or in its network: for the
browser it is still that site. But the browser sends the site's name as Host (RFC 9110 section 7.2).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

__all__ = ["WRONG_HOST", "AllowedHosts"]

WRONG_HOST = (
    "this endpoint is not to be asked by that name: use an address, or localhost, or start the server with the name in "
    "--admin-allowed-hosts"
)
LOCAL = "localhost"
_AUTHORITY = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::[0-9]*)?\Z")
"""The host of a Host field, and its port (RFC 3986 section 3.2)."""


class AllowedHosts:
    """The names in Host that are the endpoint's own.

    Any address is: no name leads to it that somebody else could change. So is `localhost`.

    :param names: of hosts, in lower case; `*.web.internal` is each name below that one, `*` any name at all
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {LOCAL, *(name.removesuffix(".") for name in names)}
        self._suffixes = tuple(name[1:] for name in self._names if name.startswith("*."))

    def allows(self, host: str | None) -> bool:
        """Whether a request with this Host is answered.

        :param host: the field's value; None: there is none, which HTTP/1.0 allows and no browser does
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
