"""The origin of a request according to the proxies in front: `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and
`-Prefix`, or `Forwarded`. Pure functions.

Anyone can send these fields; each proxy appends what it saw. So they are read from the end, as long as the sender is
trusted: the first address that is not trusted is the client's. An unreadable entry ends the walk; the client is then
the last known address. Only one kind of field is read, the one that the proxies are known to set: they would pass the
other kind through as the client sent it.

Of `X-Forwarded-Host`, `-Port` and `-Prefix` only the last value counts, that of the proxy in front of the server. Their
values do not belong to addresses one by one: a list may begin with what a client sent, in any position.
"""

from __future__ import annotations

import ipaddress
import re
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from ..errors import WrongOptions

if TYPE_CHECKING:
    from .headers import Field

from .syntax import TOKEN
from .target import host_and_port

__all__ = ["Origin", "Proxies", "ProxyHeaders"]

ProxyHeaders: TypeAlias = Literal["x-forwarded", "forwarded"]
Client: TypeAlias = "tuple[str, int] | None"
Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

UNIX = "unix:"
MAX_HOPS = 100
"""Maximum number of proxies that are followed: a client can invent as many as fit into a head."""
MAX_PAIRS = 500
"""Maximum number of pairs of Forwarded; a field with more is considered malformed."""
ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?\Z|([0-9A-Fa-f:.]+)\Z")
"""`192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`, `2001:db8::1`."""
PAIR = re.compile(rf"[ \t]*(?:({TOKEN})=(?:({TOKEN})|\"((?:[^\"\\]|\\.)*)\"))?[ \t]*(;|,|\Z)")
"""RFC 7239 section 4; a pair may be missing, and `[::1]` must be quoted."""
SCHEMES = ("http", "https")
MAX_PREFIX = 1000
"""Characters of a prefix."""
PREFIX = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+;=:@]|%[0-9A-Fa-f]{2})+)+/?\Z")
"""Segments of a path (RFC 3986 section 3.3), none of them empty: `//` at the beginning would name another host."""
DOTS = re.compile(r"/(?:\.|%2[eE]){1,2}(?=/|\Z)")
"""A segment that a client would remove, with the one before it (RFC 3986 section 5.2.4)."""


class Origin(NamedTuple):
    """The origin of a request.

    :ivar client: address and port, 0 if it is unknown; None: a unix socket
    :ivar scheme: `http` or `https`
    :ivar host: host, and perhaps a port, as a proxy reports them; None: no proxy does
    :ivar port: as a proxy reports it; None: no proxy does
    :ivar prefix: of the path, which a proxy has removed; "": none
    """

    client: Client
    scheme: str
    host: str | None = None
    port: int | None = None
    prefix: str = ""


class Proxies:
    """The trusted proxies.

    :param kind: the kind of fields that they set
    :param trusted: their addresses and networks, separated by commas; `unix:` for all clients of a unix socket, `*` for
        all
    :raises WrongOptions: one of these is invalid
    """

    def __init__(self, kind: ProxyHeaders, trusted: str) -> None:
        self._kind = kind
        self._read = _x_forwarded if kind == "x-forwarded" else _forwarded
        names = [name for part in trusted.split(",") if (name := part.strip())]
        self._everybody = "*" in names
        self._unix = UNIX in names
        self._networks = [_network(name) for name in names if name not in ("*", UNIX)]

    def origin(self, client: Client, scheme: str, fields: list[Field]) -> Origin:
        """Return the origin of a request.

        :param client: the peer of its connection
        :param scheme: the scheme of its connection
        :param fields: its header fields, names in lower case
        """
        if not self._trusts(client):
            return Origin(client, scheme)
        host, port, prefix = None, None, ""
        if self._kind == "x-forwarded":
            port, prefix = (
                _port(_last_of(fields, b"x-forwarded-port")),
                _prefix(_last_of(fields, b"x-forwarded-prefix")),
            )
        for text, said, name in islice(self._read(fields), MAX_HOPS):
            if said in SCHEMES:
                scheme = said
            if host_and_port(name) is not None:
                host = name
            hop = _client(text)
            if hop is None:
                break
            client = hop
            if not self._trusts(client):
                break
        return Origin(client, scheme, host, port, prefix)

    def _trusts(self, client: Client) -> bool:
        if self._everybody:
            return True
        if client is None:
            return self._unix
        address = _address(client[0])
        return address is not None and any(address in network for network in self._networks)


def _network(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(name)
    except ValueError as exc:
        raise WrongOptions(
            f"--forwarded-allow-ips: {exc}; use addresses, networks such as 10.0.0.0/8, {UNIX} or *"
        ) from None


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)  # an IPv4 client of a socket that listens on ::
    return address if mapped is None else mapped


def _client(text: str) -> Client:
    match = ADDRESS.match(text)
    address = None if match is None else _address(match[1] or match[2] or match[4])
    if match is None or address is None:
        return None
    return str(address), min(int(match[3] or 0), 65535)


def _values(fields: list[Field], name: bytes) -> str:
    return ",".join(value.decode("latin-1") for n, value in fields if n == name)


def _last_of(fields: list[Field], name: bytes) -> str:
    """Return the last value of a list; "" if there is none."""
    return _values(fields, name).rpartition(",")[2].strip(" \t")


def _port(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,5}", text) and 0 < int(text) < 65536 else None


def _prefix(text: str) -> str:
    if len(text) > MAX_PREFIX or PREFIX.match(text) is None or DOTS.search(text):
        return ""
    return text.removesuffix("/")


def _last(text: str) -> list[str]:
    """Return the last elements of a list: reading all of them would let a client keep the server busy."""
    return text.rsplit(",", MAX_HOPS)[-MAX_HOPS:]


def _x_forwarded(fields: list[Field]) -> list[tuple[str, str, str]]:
    """Return what each proxy reported about its peer, the last proxy first: address, scheme, host."""
    hops = [part.strip(" \t") for part in reversed(_last(_values(fields, b"x-forwarded-for")))]
    # Most proxies overwrite the scheme, so there is one; if there are as many as addresses, each belongs to one.
    schemes = [part.strip(" \t").lower() for part in reversed(_last(_values(fields, b"x-forwarded-proto")))]
    if len(schemes) != len(hops):
        schemes = schemes[:1] + [""] * (len(hops) - 1)
    hosts = [_last_of(fields, b"x-forwarded-host")] + [""] * (len(hops) - 1)
    return list(zip(hops, schemes, hosts, strict=True))


def _forwarded(fields: list[Field]) -> list[tuple[str, str, str]]:
    """The same for `Forwarded`; empty if any part is malformed."""
    text, position = _values(fields, b"forwarded"), 0
    hops: list[tuple[str, str, str]] = []
    pairs: dict[str, str] = {}
    for _ in range(MAX_PAIRS):
        match = PAIR.match(text, position)
        if match is None or (match[1] or "").lower() in pairs:
            return []
        if match[1] is not None:
            quoted = re.sub(r"\\(.)", r"\1", match[3] or "")
            pairs[match[1].lower()] = match[2] or quoted
        if match[4] != ";":
            if pairs:
                hops.append((pairs.get("for", ""), pairs.get("proto", "").lower(), pairs.get("host", "")))
            pairs = {}
        if not match[4]:
            return hops[::-1]
        position = match.end()
    return []  # more than any chain of proxies sends
