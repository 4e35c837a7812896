"""What a response depends on in its request: content codings (RFC 9110 section 12.5.3) and Vary."""

from __future__ import annotations

import pytest

from tiny_listener.http.addons.varying import acceptable, add_vary, choose_coding
from tiny_listener.http.headers import Headers


@pytest.mark.parametrize(
    ("accepted", "coding", "refuses"),
    [
        ([], "identity", False),
        ([""], "identity", False),
        (["gzip"], "gzip", False),
        (["GZIP"], "gzip", False),
        (["x-gzip"], "gzip", False),
        (["gzip, br, zstd"], "zstd", False),
        (["gzip", "br"], "br", False),
        (["gzip;q=1, br;q=0.9, zstd;q=0.8"], "gzip", False),
        (["gzip;q=0.5, br;q=0.501"], "br", False),
        (["gzip;q=0"], "identity", False),
        (["gzip;q=0.000, *"], "zstd", False),
        (["*"], "zstd", False),
        (["*;q=0.001"], "zstd", False),
        (["zstd;q=0, br;q=0, *"], "gzip", False),
        (["identity"], "identity", False),
        (["gzip;q=0.5, identity;q=1"], "identity", False),
        (["gzip;q=0.5, identity;q=0.5"], "gzip", False),
        (["gzip, identity;q=0"], "gzip", True),
        (["identity;q=0, *"], "zstd", True),
        (["gzip, *;q=0"], "gzip", True),
        (["identity;q=0.1, gzip, *;q=0"], "gzip", False),
        (["identity;q=0"], "identity", True),
        (["*;q=0"], "identity", True),
        (["deflate, compress"], "identity", False),
        (["gzip ; q=0.3 ,\tbr\t;Q=0.2"], "gzip", False),
        (["gzip;q=2"], "identity", False),
        (["gzip;q=0.1234"], "identity", False),
        (["gzip;q=x, br"], "br", False),
        (["gzip;level=1"], "identity", False),
        ([",, gzip ,"], "gzip", False),
    ],
)
def test_a_coding_is_chosen(accepted: list[str], coding: str, refuses: bool) -> None:
    """RFC 9110 section 12.5.3."""
    assert choose_coding(accepted, ("zstd", "br", "gzip")) == (coding, refuses)


def test_codings_in_the_order_of_the_client() -> None:
    assert acceptable(["gzip, br;q=0.5, zstd;q=0"], ("br", "zstd", "gzip")) == ["gzip", "br"]
    assert acceptable(["*"], ("br", "zstd", "gzip")) == ["br", "zstd", "gzip"]
    assert acceptable([], ("br",)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "Accept-Encoding"),
        ("", "Accept-Encoding"),
        ("Cookie", "Cookie, Accept-Encoding"),
        ("accept-encoding", "accept-encoding"),
        ("Cookie ,ACCEPT-ENCODING", "Cookie ,ACCEPT-ENCODING"),
        ("*", "*"),
    ],
)
def test_vary(before: str | None, after: str) -> None:
    headers = Headers({} if before is None else {"vary": before})
    add_vary(headers, "Accept-Encoding")
    assert headers["Vary"] == after
