"""CloudEvents as what handlers of requests return."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tiny_listener.cloudevents import CloudEvent, from_http, from_http_batch
from tiny_listener.http import HTTPListener
from tiny_listener.http.cloudevents import CloudEventResponse
from tiny_listener.http.testing import TestClient, TestResponse

EVENT = CloudEvent("t", "/s", {"a": 1}, id="1", subject="\u20ac")
STRUCTURED, BATCHED = "application/cloudevents+json", "application/cloudevents-batch+json"


def answer(result: Any, accept: str | None = None, method: str = "GET") -> TestResponse:
    app = HTTPListener()

    @app.get("/")
    async def handler() -> Any:
        return result

    return TestClient(app).request(method, "/", headers={} if accept is None else {"accept": accept})


def test_an_event_is_sent_in_binary_mode() -> None:
    for accept in (None, "*/*", "application/*", "application/json", f"{STRUCTURED};q=0", f"{STRUCTURED}x"):
        response = answer(EVENT, accept)
        assert (response.status_code, response.content, response.headers["ce-subject"]) == (
            200,
            b'{"a":1}',
            "%E2%82%AC",
        )
        assert response.headers["content-type"] == "application/json"
        assert response.headers["vary"] == "Accept"
        assert from_http(response.headers.items(), response.content) == EVENT.replace(
            datacontenttype="application/json"
        )


def test_one_who_asks_gets_structured_mode() -> None:
    for accept in (STRUCTURED, f"text/html, {STRUCTURED.upper()};q=0.5", f"{STRUCTURED} ; charset=utf-8"):
        response = answer(EVENT, accept)
        assert response.headers["content-type"] == STRUCTURED
        assert "ce-id" not in response.headers
        assert from_http(response.headers.items(), response.content) == EVENT


def test_the_mode_may_be_fixed() -> None:
    structured = answer(CloudEventResponse(EVENT, 201, mode="structured", headers={"X-A": "b", "Content-Type": "x/y"}))
    assert (structured.status_code, structured.headers["x-a"], structured.headers["content-type"]) == (
        201,
        "b",
        STRUCTURED,
    )
    assert "vary" not in structured.headers
    assert answer(CloudEventResponse(EVENT, mode="binary"), STRUCTURED).headers["ce-id"] == "1"


def test_an_event_without_data_has_no_body() -> None:
    response = answer(CloudEvent("t", "/s"))
    assert (response.status_code, response.content, response.headers["ce-type"]) == (200, b"", "t")
    assert "content-type" not in response.headers
    assert answer(EVENT, method="HEAD").headers["ce-id"] == "1"


def test_a_batch_is_for_those_who_ask_for_it() -> None:
    several = CloudEventResponse([EVENT, EVENT.replace(id="2")])
    response = answer(several, BATCHED)
    assert (response.headers["content-type"], response.headers["vary"]) == (BATCHED, "Accept")
    assert [event.id for event in from_http_batch(response.headers.items(), response.content)] == ["1", "2"]
    for accept in (None, "*/*", STRUCTURED):
        assert answer(several, accept).status_code == 406
    assert answer(CloudEventResponse([]), BATCHED).content == b"[]"


def test_data_that_cannot_be_encoded_is_500() -> None:
    app = HTTPListener()

    @app.get("/")
    async def handler() -> CloudEvent:
        return EVENT.replace(data=object())

    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500


def test_the_document_says_nothing_wrong_of_it() -> None:
    app = HTTPListener()

    @app.get("/")
    async def handler() -> CloudEvent:
        return EVENT

    app.listen_cloudevents("/events")
    app.openapi()
    document = TestClient(app).get("/openapi.json").json()
    assert list(document["paths"]) == ["/"]
    assert list(document["paths"]["/"]["get"]["responses"]) == ["200"]
    assert "CloudEvent" not in json.dumps(document.get("components", {}))


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((5,), {}, TypeError), (([EVENT, 5],), {}, TypeError), ((EVENT, 404), {}, ValueError),
        ((EVENT,), {"mode": "batched"}, ValueError), ((EVENT,), {"headers": {"a b": "c"}}, ValueError),
    ],
)  # fmt: skip
def test_mistakes_are_told(arguments: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        CloudEventResponse(*arguments, **options)
