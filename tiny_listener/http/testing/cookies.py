"""The cookies of a test client: what Set-Cookie headers say is kept, and sent again (RFC 6265 section 5)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from ipaddress import ip_address

__all__ = ["Cookie", "Cookies", "read_cookie"]


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie.

    :ivar domain: the host that it belongs to; "" if it was set by hand: then any
    :ivar is_for_subdomains: whether the hosts below that get it too
    :ivar expires: seconds since the epoch; None: at the end of the client
    """

    name: str
    value: str
    domain: str = ""
    path: str = "/"
    is_for_subdomains: bool = False
    expires: float | None = None

    def is_for(self, host: str, path: str) -> bool:
        """Whether it is sent with a request."""
        if self.domain and host != self.domain and not (self.is_for_subdomains and _is_below(host, self.domain)):
            return False
        start = self.path.removesuffix("/")
        return path == self.path or path.startswith(f"{start}/")


class Cookies(MutableMapping[str, str]):
    """The cookies of a client, by name; of several with one name, that with the longest path.

    A cookie that is set here goes to every path. `Secure`, `HttpOnly` and `SameSite` are not looked at: a test stands
    for a browser at a server with TLS.

    :param clock: returns the time, in seconds since the epoch
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._cookies: dict[tuple[str, str, str], Cookie] = {}

    def keep(self, lines: Iterable[str], host: str, path: str) -> None:
        """Take what the Set-Cookie headers of a response say; what is expired is deleted.

        :param host: of the request, without a port
        :param path: of the request
        """
        for line in lines:
            cookie = read_cookie(line, host, path, self._clock())
            if cookie is not None:
                self._put(cookie)

    def _put(self, cookie: Cookie) -> None:
        self._cookies.pop((cookie.name, "", cookie.path), None)  # set by hand: a response replaces it, or deletes it
        self._cookies[cookie.name, cookie.domain, cookie.path] = cookie
        self._drop_expired()

    def _drop_expired(self) -> None:
        now = self._clock()
        for key, cookie in list(self._cookies.items()):
            if cookie.expires is not None and cookie.expires <= now:
                del self._cookies[key]

    def sent_to(self, host: str, path: str) -> dict[str, str]:
        """Return the cookies for a request, those with longer paths first (RFC 6265 section 5.4)."""
        self._drop_expired()
        found: dict[str, str] = {}
        for cookie in sorted(self._cookies.values(), key=lambda cookie: -len(cookie.path)):
            if cookie.is_for(host, path):
                found.setdefault(cookie.name, cookie.value)
        return found

    def __getitem__(self, name: str) -> str:
        return self._by_name()[name]

    def __setitem__(self, name: str, value: str) -> None:
        del self[name]
        self._put(Cookie(name, value))

    def __delitem__(self, name: str) -> None:
        for key in [key for key in self._cookies if key[0] == name]:
            del self._cookies[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name())

    def __len__(self) -> int:
        return len(self._by_name())

    def __repr__(self) -> str:
        return f"Cookies({self._by_name()})"

    def _by_name(self) -> dict[str, str]:
        self._drop_expired()
        return {one.name: one.value for one in sorted(self._cookies.values(), key=lambda one: len(one.path))}


def read_cookie(line: str, host: str, path: str, now: float) -> Cookie | None:
    """Return the cookie that a Set-Cookie header sets; None if a browser would ignore it (RFC 6265 section 5.3).

    :param host: of the request, without a port
    :param path: of the request
    :param now: seconds since the epoch
    """
    pair, *parts = line.split(";")
    name, equals, value = (text.strip() for text in pair.partition("="))
    if not name or not equals:
        return None
    attributes = {key.strip().lower(): text.strip() for key, _, text in (part.partition("=") for part in parts)}
    host, domain = host.lower(), attributes.get("domain", "").lower().removeprefix(".")
    if domain and domain != host and not _is_below(host, domain):
        return None
    where = attributes.get("path", "")
    if not where.startswith("/"):
        where = path.rpartition("/")[0] or "/"
    expires = _expiry(attributes, now)
    return Cookie(name, value, domain or host, where, bool(domain), expires)


def _expiry(attributes: dict[str, str], now: float) -> float | None:
    age = attributes.get("max-age", "")
    if age.removeprefix("-").isdecimal():  # it wins over Expires
        return now + int(age)
    try:
        parsed = parsedate_tz(attributes.get("expires", ""))
        return None if parsed is None else mktime_tz(parsed)
    except (ValueError, OverflowError):  # a date that is none counts as missing
        return None


def _is_below(host: str, domain: str) -> bool:
    if not host.endswith(f".{domain}"):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False
