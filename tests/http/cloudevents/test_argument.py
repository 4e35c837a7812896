"""A CloudEvent as an argument of handlers: of requests, and of published events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.http.cloudevents.receivers import order, post
from tiny_listener import Event, EventDataError, Listener
from tiny_listener.cloudevents import CloudEvent
from tiny_listener.http import HTTPListener
from tiny_listener.http.testing import TestClient


class Total(msgspec.Struct):
    total: int


def application() -> tuple[HTTPListener, list[Any]]:
    app = HTTPListener()
    seen: list[Any] = []

    @app.post("/hook", max_body=1000)
    async def hook(event: CloudEvent) -> None:
        seen.append(event)

    @app.post("/both")
    async def both(event: CloudEvent, total: Total) -> None:
        seen.append((event.id, total))

    @app.on_event("plain")
    async def plain(event: CloudEvent | None) -> None:
        seen.append(event)

    @app.on_event("must")
    async def must(event: CloudEvent) -> None:
        seen.append(event)

    @app.post("/publish/{name}")
    async def publish(name: str, event: CloudEvent) -> None:
        await app.publish(name, event.data, attributes=event.attributes)

    return app, seen


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_a_request_that_is_one(mode: Any) -> None:
    app, seen = application()
    event = order({"total": 5}, id="7", datacontenttype="application/json")
    with TestClient(app) as client:
        assert post(client, event, mode, at="/hook").status_code == 204
        for name in ("plain", "must"):
            assert post(client, event, mode, at=f"/publish/{name}").status_code == 204
    assert seen == [event] * 3
    with TestClient(app) as client:
        assert post(client, event, at="/both").status_code == 204
    assert seen[3] == ("7", Total(5))


def test_a_request_that_is_none() -> None:
    app, seen = application()
    with TestClient(app) as client:
        missing = client.post("/hook", content=b"x", headers={"ce-id": "7"})
        assert (missing.status_code, missing.text.startswith("the CloudEvent lacks specversion")) == (400, True)
        none = client.post("/hook", json={"a": 1})
        assert (none.status_code, none.headers["accept"]) == (415, "application/cloudevents+json")
        assert post(client, [order()], at="/hook").status_code == 400
        assert post(client, order(b"x" * 1001, datacontenttype="a/b"), at="/hook").status_code == 413
    assert seen == []


def test_an_event_that_did_not_come_as_one() -> None:
    app, seen = application()

    @app.get("/trigger/{name}")
    async def trigger(name: str) -> str:
        try:
            await app.trigger_event(name)
        except EventDataError as exc:
            return str(exc)
        return "done"

    with TestClient(app) as client:
        assert client.get("/trigger/plain").text == "done"
        assert "did not come as a CloudEvent" in client.get("/trigger/must").text
    assert seen == [None]


def test_a_listener_without_http_has_it_too() -> None:
    class Once(Listener):
        async def listen(self) -> None:
            await self.trigger_event("x")

    app, seen = Once(), []

    @app.on_event("x")
    async def x(event: Event, none: CloudEvent | None) -> None:
        seen.append(none)
        await app.graceful_shutdown()

    app.run()
    assert seen == [None]
