"""The URL of a request: what a trusted proxy says of host, port and prefix, and nobody else."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.http.helpers import serving
from tests.http.memory import MemoryTransport
from tests.http.walls import until
from tiny_listener.core.runtime import Host
from tiny_listener.http import URL, HTTPListener, HTTPSettings, Request
from tiny_listener.http.forwarded import MAX_PREFIX, Proxies
from tiny_listener.http.h1.server import HTTPServer
from tiny_listener.http.target import MAX_AUTHORITY, host_and_port

PEER = ("10.0.0.1", 5000)
HOST, PORT, PREFIX = b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-prefix"


def application() -> HTTPListener:
    app = HTTPListener()

    @app.get("/{rest:path}")
    async def shows(request: Request) -> dict[str, object]:
        return {"url": str(request.url), "base": str(request.base_url), "root": request.root_path}

    return app


async def shown(data: bytes, peer: Any = PEER, own: Any = ("192.0.2.1", 8000), **settings: Any) -> bytes:
    """Return what the application says to a request that arrives in memory."""
    app = application()
    app.attach(Host())
    server = HTTPServer(app, HTTPSettings(**settings))

    class Transport(MemoryTransport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return {"peername": peer, "sockname": own}.get(name, default)

    transport = Transport(server)
    await transport.feed(data)
    await until(lambda: bool(transport.written))
    await transport.end()
    server.abort()
    return bytes(transport.written).partition(b"\r\n\r\n")[2]


def request(*lines: str, first: str = "GET /%C3%BC?x=%20 HTTP/1.1") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def says(url: str, base: str, root: str = "") -> bytes:
    return f'{{"url":"{url}","base":"{base}","root":"{root}"}}'.encode()


TRUSTED = {"proxy_headers": "x-forwarded", "forwarded_allow_ips": "10.0.0.0/8"}
RFC = {"proxy_headers": "forwarded", "forwarded_allow_ips": "10.0.0.0/8"}


@pytest.mark.parametrize(
    ("settings", "lines", "start"),
    [
        ({}, [], "http://h.example"),
        ({}, ["X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /e"], "http://h.example"),
        (TRUSTED, [], "http://h.example"),
        (TRUSTED, ["X-Forwarded-Host: Shop.example"], "http://shop.example"),
        (TRUSTED, ["X-Forwarded-Host: shop.example:8443"], "http://shop.example:8443"),
        (TRUSTED, ["X-Forwarded-Host: shop.example:80"], "http://shop.example"),
        (TRUSTED, ["X-Forwarded-Host: shop.example:443", "X-Forwarded-Proto: https"], "https://shop.example"),
        (TRUSTED, ["X-Forwarded-Host: [2001:DB8::1]:81"], "http://[2001:db8::1]:81"),
        (TRUSTED, ["X-Forwarded-Port: 8443"], "http://h.example:8443"),
        (TRUSTED, ["X-Forwarded-Port: 443", "X-Forwarded-Proto: https"], "https://h.example"),
        (TRUSTED, ["X-Forwarded-Host: shop.example:81", "X-Forwarded-Port: 82"], "http://shop.example:81"),
        (TRUSTED, ["X-Forwarded-Host: evil, shop.example"], "http://shop.example"),
        (TRUSTED, ["X-Forwarded-Host: evil", "X-Forwarded-Host: shop.example"], "http://shop.example"),
        (TRUSTED, ["X-Forwarded-For: 192.0.2.7, 10.0.0.2", "X-Forwarded-Host: evil, good"], "http://good"),
        (TRUSTED, ["Forwarded: host=evil"], "http://h.example"),
        (RFC, ["X-Forwarded-Host: evil", "X-Forwarded-Prefix: /evil"], "http://h.example"),
        (RFC, ['Forwarded: for=192.0.2.7;host="shop.example:81"'], "http://shop.example:81"),
        (RFC, ["Forwarded: for=192.0.2.6;host=evil, for=192.0.2.7;host=good"], "http://good"),
        (RFC, ["Forwarded: for=192.0.2.7;host=outer, for=10.0.0.2;host=inner"], "http://outer"),
        (RFC, ["Forwarded: for=192.0.2.7, for=10.0.0.2;host=inner"], "http://inner"),
        *[
            (TRUSTED, [f"X-Forwarded-Host: {bad}"], "http://h.example")
            for bad in (
                "",
                "a/b",
                "a b",
                "a@b",
                "a:b",
                "a:0",
                "a:65536",
                "[::1",
                "[x]",
                "a?b",
                "\xe9",
                ":80",
                "a;b",
                "a%41",
                "[v1.a]",
                "a" * 301,
            )
        ],
        *[
            (TRUSTED, [f"X-Forwarded-Port: {bad}"], "http://h.example")
            for bad in ("", "0", "65536", "-1", "8 0", "\xb2", "000080", "1e2")
        ],
    ],
)
def test_host_and_port(runner: asyncio.Runner, settings: dict[str, Any], lines: list[str], start: str) -> None:
    body = runner.run(shown(request("Host: h.example", *lines), **settings))
    assert body == says(f"{start}/%C3%BC?x=%20", f"{start}/")


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("/shop", "/shop"),
        ("/shop/", "/shop"),
        ("/a/b%20c/d.e", "/a/b%20c/d.e"),
        ("/evil, /shop", "/shop"),
        ("/" + "a" * (MAX_PREFIX - 1), "/" + "a" * (MAX_PREFIX - 1)),
        ("/" + "a" * MAX_PREFIX, ""),
        *[
            (bad, "")
            for bad in ("", "/", "shop", "//evil", "/a//b", "/..", "/a/../b", "/a/%2E%2e", "/.", "/a?b", "/a#b")
        ],
        *[(bad, "") for bad in ("/a%", "/a%2", "/a b", "/<", "http://evil/", "/\xe9", "\\\\evil")],
    ],
)
def test_prefixes(runner: asyncio.Runner, value: str, prefix: str) -> None:
    data = request("Host: h.example", f"X-Forwarded-Prefix: {value}")
    body = runner.run(shown(data, **TRUSTED))
    assert body == says(f"http://h.example{prefix}/%C3%BC?x=%20", f"http://h.example{prefix}/", prefix)


@pytest.mark.parametrize(
    ("first", "own", "url"),
    [
        ("GET /a HTTP/1.0", ("192.0.2.1", 8000), "http://192.0.2.1:8000/a"),
        ("GET /a HTTP/1.0", ("::1", 80, 0, 0), "http://[::1]/a"),
        ("GET /a HTTP/1.0", ("fe80::1%eth0", 81, 0, 2), "http://[fe80::1]:81/a"),
        ("GET /a HTTP/1.0", "/run/web.sock", "http://localhost/a"),
        ("GET http://a;b/a HTTP/1.0", ("192.0.2.1", 80), "http://192.0.2.1/a"),
        ("GET http://Else.example:81?x HTTP/1.0", None, "http://else.example:81/?x"),
        ("GET http://else.example/b HTTP/1.0", None, "http://else.example/b"),
    ],
)
def test_without_host(runner: asyncio.Runner, first: str, own: Any, url: str) -> None:
    body = runner.run(shown(request(first=first), own=own))
    assert f'"url":"{url}"'.encode() in body


def test_over_a_socket(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving(application(), **{**TRUSTED, "forwarded_allow_ips": "127.0.0.1"}) as server:
            lines = ("X-Forwarded-Host: shop.example", "X-Forwarded-Prefix: /shop", "X-Forwarded-Proto: https")
            response = await server.ask(request("Host: x", *lines, first="GET /a HTTP/1.1"))
            assert response.body == says("https://shop.example/shop/a", "https://shop.example/shop/", "/shop")

    runner.run(main())


def test_a_url() -> None:
    url = URL("https", "h.example", 443, "/a", "b=c")
    assert (str(url), url.authority) == ("https://h.example/a?b=c", "h.example")
    assert str(URL("http", "::1", 443, "")) == "http://[::1]:443"
    with pytest.raises(AttributeError):
        url.host = "other"  # type: ignore[misc]
    assert len({url, URL("https", "h.example", 443, "/a", "b=c")}) == 1


names = st.sampled_from(
    (b"x-forwarded-for", b"x-forwarded-proto", HOST, PORT, PREFIX, b"forwarded", b"x-forwarded-server", b"via")
)
values = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        (b"evil", b"evil:1", b"443", b"/evil", b"https", b"10.0.0.1", b"for=10.0.0.1;host=evil;proto=https")
    ),
    st.text(st.sampled_from('for=host;,"10.:[]/ev'), max_size=40).map(str.encode),
)
fields = st.lists(st.tuples(names, values), max_size=6)


@given(fields, st.sampled_from(("x-forwarded", "forwarded")), st.sampled_from((("198.51.100.1", 1), None)))
def test_nothing_of_untrusted_clients_counts(fields: list[tuple[bytes, bytes]], kind: Any, peer: Any) -> None:
    assert Proxies(kind, "10.0.0.0/8").origin(peer, "http", fields) == (peer, "http", None, None, "")


@given(fields)
@example([(HOST, b"evil, "), (PREFIX, b"/evil, ")])
def test_nothing_before_the_value_of_a_trusted_proxy_counts(fields: list[tuple[bytes, bytes]]) -> None:
    """What a client sends is followed by what the proxy appends, or is replaced."""
    proxies = Proxies("x-forwarded", "10.0.0.0/8")
    appended = [(HOST, b"shop.example"), (PORT, b"8443"), (PREFIX, b"/shop"), (b"x-forwarded-for", b"192.0.2.7")]
    found = proxies.origin(PEER, "http", [*fields, *appended])
    assert found[0] == ("192.0.2.7", 0)
    assert found[2:] == ("shop.example", 8443, "/shop")


@given(fields)
def test_nothing_before_the_element_of_a_trusted_proxy_counts(fields: list[tuple[bytes, bytes]]) -> None:
    proxies = Proxies("forwarded", "10.0.0.0/8")
    found = proxies.origin(PEER, "http", [*fields, (b"forwarded", b"for=192.0.2.7;host=shop.example")])
    # An element that a client left open swallows what follows: then nothing counts.
    assert found in ((("192.0.2.7", 0), "http", "shop.example", None, ""), (PEER, "http", None, None, ""))


@given(fields, st.sampled_from(("x-forwarded", "forwarded")))
def test_whatever_is_trusted_makes_a_valid_url(fields: list[tuple[bytes, bytes]], kind: Any) -> None:
    _, scheme, host, port, prefix = Proxies(kind, "*").origin(PEER, "http", fields)
    name, own = host_and_port(host) or ("", 0) if host is not None else ("h", None)
    url = str(URL(scheme, name, own or port or 80, f"{prefix}/", ""))
    parts = urlsplit(url)
    assert (parts.scheme, parts.hostname, parts.path) == (scheme, name, f"{prefix}/")
    assert not parts.query
    assert not parts.fragment
    assert parts.username is None


@given(st.text(st.sampled_from("aA0.-:[]%4@/_é"), max_size=12) | st.text(max_size=5))
def test_authorities(text: str) -> None:
    found = host_and_port(text)
    if found is not None:
        host, port = found
        assert host == host.lower() != ""
        assert port is None or 0 < port < 65536
        assert len(text) <= MAX_AUTHORITY
        assert host_and_port(URL("http", host, port or 80, "").authority) == (host, None if port == 80 else port)
