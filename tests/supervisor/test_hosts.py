"""By which names the admin endpoint may be asked."""

from __future__ import annotations

import pytest
from tiny_listener_supervisor.admin.hosts import AllowedHosts

NAMED = AllowedHosts(("web.internal", "*.cluster.local", "dot.internal."))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:9464", "10.1.2.3:1", "[::1]", "[::1]:9464", "[2001:db8::1]:80", "localhost",
        "localhost:9464", "LOCALHOST.:1", "localhost:", None,
    ],
)  # fmt: skip
def test_addresses_and_localhost_are_everybody_s(host: str | None) -> None:
    assert AllowedHosts().allows(host)
    assert NAMED.allows(host)


@pytest.mark.parametrize(
    "host",
    [
        "", ":9464", "evil.example", "evil.example:9464", "localhost.evil.example", "127.0.0.1.evil.example",
        "evil.example:80:80", "127.0.0.1@evil.example", "2130706433", "0x7f.1", "127.1", "[evil.example]",
        "[127.0.0.1]", "[]", "::1", "\u0661\u0662\u0667.0.0.1",
    ],
)  # fmt: skip
def test_all_else_has_to_be_named(host: str) -> None:
    assert not AllowedHosts().allows(host)
    assert not NAMED.allows(host)
    assert AllowedHosts(("*",)).allows(host)


def test_names_are_allowed_as_they_are_given() -> None:
    for host in ("web.internal", "WEB.internal:9464", "web.internal.", "a.cluster.local", "b.a.cluster.local:1"):
        assert NAMED.allows(host), host
        assert not AllowedHosts().allows(host), host
    assert NAMED.allows("dot.internal")
    for host in ("xweb.internal", "x.web.internal", "cluster.local", "xcluster.local", "internal"):
        assert not NAMED.allows(host), host
