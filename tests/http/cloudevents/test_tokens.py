"""The tokens of senders, and that no log has one."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.http.cloudevents.receivers import Receiving, order, post
from tests.http.spans import Kept
from tiny_listener.otel import instrument


def test_a_token_in_the_header() -> None:
    with Receiving(tokens=["secret", "other"]).client() as client:
        assert post(client, order(), authorization="Bearer secret").status_code == 202
        assert post(client, order(), authorization="bearer  other").status_code == 202
        for wrong in ("Bearer", "Bearer x", "Bearer secret2", "Basic secret", "secret", "Bearer s\xfc"):
            response = post(client, order(), authorization=wrong)
            assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert post(client, order()).status_code == 401
        assert post(client, order(), at="/events?access_token=secret").status_code == 401


def test_a_token_in_the_query() -> None:
    with Receiving(tokens=["se+/cret"], token_in_query=True).client() as client:
        response = post(client, order(), at="/events?a=b&access_token=se%2B%2Fcret&c=d")
        assert (response.status_code, response.headers["cache-control"]) == (202, "private")
        assert "cache-control" not in post(client, order(), authorization="Bearer se+/cret").headers
        for wrong in ("?access_token=", "?access_token=x", "?xaccess_token=se%2B%2Fcret", ""):
            assert post(client, order(), at=f"/events{wrong}").status_code == 401
        two = post(client, order(), at="/events?access_token=se%2B%2Fcret&access_token=se%2B%2Fcret")
        assert two.status_code == 401


@pytest.mark.parametrize("in_query", [True, False])
def test_no_log_has_it(in_query: bool, caplog: pytest.LogCaptureFixture) -> None:
    one = Receiving(tokens=["secret"], token_in_query=in_query)
    one.app.configure(access_log=True)
    kept = Kept()
    instrument(one.app, kept.provider)
    with caplog.at_level(logging.INFO, "tiny_listener.access"), one.client() as client:
        post(client, order(), at="/events?a=b&access_token=secret&c=d")
    assert "/events?a=b&access_token=-&c=d" in caplog.text
    assert "secret" not in caplog.text
    queries = [
        span.attributes["url.query"] for span in kept.spans() if span.attributes and "url.query" in span.attributes
    ]
    assert queries == ["a=b&access_token=REDACTED&c=d"]


@pytest.mark.parametrize(
    "options", [{"tokens": [""]}, {"tokens": ["a b"]}, {"tokens": ["ü"]}, {"token_in_query": True}]
)
def test_mistakes_are_told(options: Any) -> None:
    with pytest.raises(ValueError, match=r"tokens="):
        Receiving(**options)
