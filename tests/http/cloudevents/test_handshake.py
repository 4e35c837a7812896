"""The handshake by which senders ask for permission."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.cloudevents.receivers import Receiving, order, post
from tiny_listener.http.cloudevents import Handshake
from tiny_listener.http.testing import TestResponse

ORIGIN = "WebHook-Request-Origin"
RATE = "WebHook-Request-Rate"


def ask(handshake: Handshake | None, **headers: str) -> TestResponse:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Receiving(handshake=handshake).client().options("/events", headers=fields)


def test_an_origin_is_allowed() -> None:
    response = ask(Handshake(["a.example", "B.Example."]), WebHook_Request_Origin="b.EXAMPLE")
    assert response.status_code == 204
    assert response.headers["webhook-allowed-origin"] == "b.EXAMPLE"
    assert response.headers["webhook-allowed-rate"] == "*"
    assert response.headers["allow"] == "POST, OPTIONS"
    assert ask(Handshake(), WebHook_Request_Origin="any.example").headers["webhook-allowed-origin"] == "*"


def test_another_origin_is_not() -> None:
    for origin in ("c.example", "xb.example", "b.example.org"):
        response = ask(Handshake(["b.example"]), WebHook_Request_Origin=origin)
        assert response.status_code == 403
        assert "webhook-allowed-origin" not in response.headers
        assert "webhook-allowed-rate" not in response.headers
    for wrong in ("", "a b", "-a", "a..b", "https://a.example", "a" * 254):
        assert ask(Handshake(), WebHook_Request_Origin=wrong).status_code == 400


@pytest.mark.parametrize(
    ("limit", "asked", "allowed"),
    [(None, None, "*"), (None, "120", "*"), (100, None, "100"), (100, "120", "100"), (100, "99", "99")],
)
def test_a_rate_is_allowed(limit: int | None, asked: str | None, allowed: str) -> None:
    rate = {} if asked is None else {RATE: asked}
    assert ask(Handshake(rate=limit), **{ORIGIN: "a.example"}, **rate).headers["webhook-allowed-rate"] == allowed


@pytest.mark.parametrize("rate", ["0", "-1", "1.5", "", "many", "9" * 10])
def test_a_rate_is_a_number(rate: str) -> None:
    response = ask(Handshake(), **{ORIGIN: "a.example", RATE: rate})
    assert (response.status_code, response.text) == (
        400, "WebHook-Request-Rate is a whole number of requests per minute from 1\n",
    )  # fmt: skip


def test_without_the_option_nothing_is_allowed() -> None:
    response = ask(None, WebHook_Request_Origin="a.example")
    assert response.status_code == 204
    assert "POST" in response.headers["allow"]
    assert "webhook-allowed-origin" not in response.headers


def test_another_options_request_gets_no_permission() -> None:
    response = ask(Handshake())
    assert (response.status_code, response.headers["allow"]) == (204, "POST, OPTIONS")
    assert "webhook-allowed-origin" not in response.headers


def test_deliveries_may_have_to_name_their_origin() -> None:
    with Receiving(handshake=Handshake(["a.example"], required=True)).client() as client:
        assert post(client, order()).status_code == 403
        assert post(client, order(), webhook_request_origin="b.example").status_code == 403
        assert post(client, order(), webhook_request_origin="A.example").status_code == 202
    with Receiving(handshake=Handshake(["a.example"])).client() as client:
        assert post(client, order()).status_code == 202


@pytest.mark.parametrize(
    "options",
    [
        {"origins": []}, {"origins": "a b"}, {"origins": ["*"]}, {"origins": ["https://a.example"]}, {"rate": 0},
        {"rate": True}, {"rate": 1.5},
    ],
)  # fmt: skip
def test_mistakes_are_told(options: Any) -> None:
    with pytest.raises(ValueError, match=r"(origins|rate)= takes"):
        Handshake(**options)
    assert Handshake("a.example").rate is None
