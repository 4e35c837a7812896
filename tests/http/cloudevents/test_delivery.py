"""What the answer to a delivery means."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_listener.errors import ListenerError
from tiny_listener.http.cloudevents.delivery import CloudEventNotDelivered, judge, retry_after

NOW = dt.datetime(2026, 11, 28, 9, 30, tzinfo=dt.UTC)
URL = "https://example.com/events"


def verdict(status: int, body: bytes = b"", **headers: str) -> CloudEventNotDelivered:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    found = judge(URL, status, fields, body, NOW)
    assert isinstance(found, CloudEventNotDelivered)
    assert isinstance(found, ListenerError)
    assert found.status == status
    return found


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered(status: int) -> None:
    assert judge(URL, status, {"retry-after": "5"}, b"", NOW) is None


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
def test_a_redirect_is_final(status: int) -> None:
    error = verdict(status, location="https://other.example")
    assert error.is_final
    assert f"it redirects ({status}), which a sender must not follow" in str(error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 501, 505, 511, 600])
def test_what_is_final(status: int) -> None:
    assert verdict(status, retry_after="5").is_final is (status != 600)
    assert verdict(status).is_gone is (status == 410)
    if status != 600:
        assert verdict(status, retry_after="5").retry_after is None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 599])
def test_what_may_go_better_later(status: int) -> None:
    error = verdict(status, retry_after="120")
    assert (error.is_final, error.retry_after, error.is_gone) == (False, 120.0, False)


def test_what_the_message_says() -> None:
    assert str(verdict(410)) == (
        "the CloudEvent was not delivered to https://example.com/events: "
        "410 Gone: it has been retired: send it no further events"
    )
    assert "415 Unsupported Media Type: it does not understand this format: try the other mode=" in str(verdict(415))
    assert "(no such\ufffd?type)" in str(verdict(400, b"no such\xff\x1btype\r\nmore"))
    assert len(str(verdict(500, b"x" * 10_000))) < 400


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0), ("120", 120), (" 5\t", 5),
        ("Sat, 28 Nov 2026 09:31:30 GMT", 90), ("Sat, 28 Nov 2026 09:00:00 GMT", 0),
        ("Saturday, 28-Nov-26 09:31:00 GMT", 60), ("Sat, 28 Nov 2026 09:31:00 -0000", 60), (None, None), ("", None),
        ("-5", None), ("1.5", None), ("soon", None), ("9" * 30, None), ("٢", None),
        ("Sat, 99 Nov 2026 09:31:30 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text(max_size=40))
def test_any_retry_after(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or seconds >= 0
