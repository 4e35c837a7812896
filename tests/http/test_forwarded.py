"""Where a request came from, as trusted proxies say, and nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.helpers import serving
from tests.server import command
from tiny_listener.errors import CannotLoad
from tiny_listener.http import HTTPListener, Request
from tiny_listener.http.forwarded import Origin, Proxies

PEER = ("10.0.0.1", 5000)
X_FOR, X_PROTO, FORWARDED = b"x-forwarded-for", b"x-forwarded-proto", b"forwarded"


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([], PEER),
        (["192.0.2.7"], ("192.0.2.7", 0)),
        (["192.0.2.7:1234"], ("192.0.2.7", 1234)),
        (["2001:db8::7"], ("2001:db8::7", 0)),
        (["[2001:db8::7]"], ("2001:db8::7", 0)),
        (["[2001:db8::7]:1234"], ("2001:db8::7", 1234)),
        (["::ffff:192.0.2.7"], ("192.0.2.7", 0)),
        (["192.0.2.66, 192.0.2.7"], ("192.0.2.7", 0)),  # the first is what the client sent
        (["192.0.2.66", "192.0.2.7"], ("192.0.2.7", 0)),
        (["192.0.2.66, 192.0.2.7, 10.0.0.2"], ("192.0.2.7", 0)),  # the last is a proxy
        (["10.0.0.3, 10.0.0.2"], ("10.0.0.3", 0)),
        (["192.0.2.66, unknown, 10.0.0.2"], ("10.0.0.2", 0)),  # who is before it is not known
        (["192.0.2.66, <script>"], PEER),
        ([""], PEER),
        ([",,"], PEER),
        (["192.0.2.7:99999"], ("192.0.2.7", 65535)),
        (["1.2.3.4.5"], PEER),
        (["1.2.3.4, "], PEER),
    ],
)
def test_x_forwarded_for(values: list[str], client: tuple[str, int]) -> None:
    proxies = Proxies("x-forwarded", "10.0.0.0/8, ::1")
    fields = [(X_FOR, value.encode()) for value in values]
    assert proxies.origin(PEER, "http", fields) == Origin(client, "http")
    stranger = ("198.51.100.1", 1)
    assert proxies.origin(stranger, "http", [*fields, (X_PROTO, b"https")]) == Origin(stranger, "http")


@pytest.mark.parametrize(
    ("hops", "protos", "scheme"),
    [
        (["192.0.2.7"], ["https"], "https"),
        (["192.0.2.7"], ["HTTPS"], "https"),
        (["192.0.2.7"], ["gopher"], "http"),
        (["192.0.2.7"], [], "http"),
        ([], ["https"], "https"),
        (["192.0.2.66, 192.0.2.7"], ["https"], "https"),
        (["192.0.2.66, 192.0.2.7"], ["https, http"], "http"),
        (["192.0.2.7, 10.0.0.2"], ["https, http"], "https"),
    ],
)
def test_x_forwarded_proto(hops: list[str], protos: list[str], scheme: str) -> None:
    fields = [(X_FOR, hop.encode()) for hop in hops] + [(X_PROTO, proto.encode()) for proto in protos]
    assert Proxies("x-forwarded", "10.0.0.0/8").origin(PEER, "http", fields).scheme == scheme


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("for=192.0.2.7", Origin(("192.0.2.7", 0), "http")),
        ("For=192.0.2.7;proto=HTTPS;by=10.0.0.1", Origin(("192.0.2.7", 0), "https")),
        ('for="192.0.2.7:1234"', Origin(("192.0.2.7", 1234), "http")),
        ('for="[2001:db8::7]:1234" ; proto=https', Origin(("2001:db8::7", 1234), "https")),
        ("for=192.0.2.66;proto=https, for=192.0.2.7", Origin(("192.0.2.7", 0), "http")),
        ("for=192.0.2.7;proto=https,for=10.0.0.2", Origin(("192.0.2.7", 0), "https")),
        ("for=192.0.2.66, for=_hidden, for=10.0.0.2", Origin(("10.0.0.2", 0), "http")),
        ("for=unknown;proto=https", Origin(PEER, "https")),
        ("proto=https", Origin(PEER, "https")),
        ('host="a,b;c";for=192.0.2.7', Origin(("192.0.2.7", 0), "http")),
        (r'for="192.0.2\.7"', Origin(("192.0.2.7", 0), "http")),
        ("for=192.0.2.7;for=192.0.2.8", Origin(PEER, "http")),
        ("for=[2001:db8::7]", Origin(PEER, "http")),
        ('for="192.0.2.7', Origin(PEER, "http")),
        ("for 192.0.2.7", Origin(PEER, "http")),
        ("", Origin(PEER, "http")),
        (" , ;", Origin(PEER, "http")),
    ],
)
def test_forwarded(value: str, origin: Origin) -> None:
    proxies = Proxies("forwarded", "10.0.0.0/8")
    fields = [(FORWARDED, value.encode()), (X_FOR, b"203.0.113.5"), (X_PROTO, b"https")]  # of the other kind: not read
    assert proxies.origin(PEER, "http", fields) == origin


def test_whom_to_trust() -> None:
    fields = [(X_FOR, b"192.0.2.7")]
    assert Proxies("x-forwarded", "*").origin(("198.51.100.1", 1), "http", fields).client == ("192.0.2.7", 0)
    assert Proxies("x-forwarded", "unix:").origin(None, "http", fields).client == ("192.0.2.7", 0)
    assert Proxies("x-forwarded", "10.0.0.1").origin(None, "http", fields).client is None
    assert Proxies("x-forwarded", "127.0.0.1").origin(("::ffff:127.0.0.1", 1), "http", fields).client == (
        "192.0.2.7",
        0,
    )
    assert Proxies("x-forwarded", "fe80::/10").origin(("fe80::1%eth0", 1), "http", fields).client == ("192.0.2.7", 0)
    assert Proxies("x-forwarded", "").origin(PEER, "http", fields).client == PEER
    for text in ("localhost", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.1;::1"):
        with pytest.raises(CannotLoad, match=r"--forwarded-allow-ips: .*; use addresses"):
            Proxies("x-forwarded", text)


texts = st.text(st.sampled_from('for=proto;,"\\ \t:[]_.*0123456789abcdefhtps\xe9'), max_size=60).map(
    lambda text: text.encode("latin-1")
)


@given(st.lists(st.tuples(st.sampled_from((X_FOR, X_PROTO, FORWARDED)), texts | st.binary(max_size=30)), max_size=4))
def test_no_bytes_raise(fields: list[tuple[bytes, bytes]]) -> None:
    for kind in ("x-forwarded", "forwarded"):
        client, scheme, *_ = Proxies(kind, "10.0.0.0/8").origin(PEER, "http", fields)
        assert client is not None
        assert isinstance(client[1], int)
        assert scheme in ("http", "https")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, b"127.0.0.1 http"),
        ({"proxy_headers": "x-forwarded"}, b"192.0.2.7 https"),
        ({"proxy_headers": "x-forwarded", "forwarded_allow_ips": "10.0.0.1"}, b"127.0.0.1 http"),
        ({"proxy_headers": "forwarded"}, b"192.0.2.8 http"),
    ],
)
def test_what_a_request_says(runner: asyncio.Runner, settings: dict[str, Any], expected: bytes) -> None:
    app = HTTPListener()

    @app.get("/")
    async def home(request: Request) -> str:
        assert request.client is not None
        return f"{request.client[0]} {request.scheme}"

    async def main() -> None:
        async with serving(app, **settings) as server:
            said = b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nForwarded: for=192.0.2.8\r\n"
            response = await server.ask(b"GET / HTTP/1.1\r\nHost: x\r\n" + said + b"\r\n")
            assert response.body == expected

    runner.run(main())


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--proxy-headers", "--forwarded-header"], 2, "--proxy-headers and --forwarded-header"),
        (["--forwarded-allow-ips", "10.0.0.1"], 2, "--forwarded-allow-ips does nothing without"),
        (["--proxy-headers", "--forwarded-allow-ips", "proxy"], 2, "'proxy' does not appear to be an IPv4 or IPv6"),
    ],
)
def test_the_command_line(options: list[str], code: int, message: str) -> None:
    done = command("--check", *options, "web:app")
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
