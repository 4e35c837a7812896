"""An endpoint whose handlers run before the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.http.cloudevents.receivers import Receiving, order, post
from tiny_listener import Event, Reject, RetryLater
from tiny_listener.cloudevents import CloudEvent, from_http
from tiny_listener.http import HTTPError, HTTPListener
from tiny_listener.http.testing import TestClient


def waiting() -> tuple[HTTPListener, list[Any]]:
    app, seen = HTTPListener(), []
    app.listen_cloudevents("/events", wait=True)

    @app.on_event("note")
    async def note(event: Event, text: CloudEvent) -> None:
        await asyncio.sleep(0)
        seen.append((event.payload, event.key, event.attributes["id"], text.data))

    @app.on_event("add", timeout=0.05)
    async def add(a: int, b: int) -> int:
        if a == b:
            await asyncio.Event().wait()
        return a + b

    @app.on_event("raise {what}")
    async def raises(what: str) -> None:
        raise {
            "gone": HTTPError(410), "later": RetryLater(2.1), "soon": RetryLater(0), "reject": Reject("unwanted\nline"),
            "plain": Reject(""), "failure": ValueError("deliberate"),
        }[what]  # fmt: skip

    @app.on_event("reply")
    async def reply(event: CloudEvent) -> CloudEvent:
        return event.replace(type="answer")

    return app, seen


def test_nothing_to_say_is_204() -> None:
    app, seen = waiting()
    with TestClient(app) as client:
        event = order({"a": 1}, type="note", id="7", extensions={"partitionkey": "ann"})
        response = post(client, event)
        assert (response.status_code, response.content) == (204, b"")
        assert post(client, order(b"\0", type="note", id="8", datacontenttype="a/b")).status_code == 204
    assert seen == [({"a": 1}, "ann", "7", {"a": 1}), (b"\0", None, "8", b"\0")]


def test_a_result_is_200() -> None:
    app, _ = waiting()
    with TestClient(app) as client:
        response = post(client, order({"a": 1, "b": 2}, type="add"))
        assert (response.status_code, response.text, response.headers["content-type"]) == (200, "3", "application/json")
        response = post(client, order({"a": 1}, type="reply"))
        assert from_http(list(response.headers.items()), response.content).type == "answer"


def test_what_handlers_raise() -> None:
    app, _ = waiting()
    with TestClient(app, raise_server_exceptions=False) as client:
        for what, status, text in (
            ("gone", 410, "Gone\n"),
            ("reject", 422, "unwanted\n"),
            ("plain", 422, "Unprocessable"),
            ("later", 503, "try again later\n"),
            ("failure", 500, "Internal Server Error"),
        ):
            response = post(client, order(type=f"raise {what}"))
            assert response.status_code == status
            assert response.text.startswith(text)
        assert post(client, order(type="raise later")).headers["retry-after"] == "3"
        assert post(client, order(type="raise soon")).headers["retry-after"] == "1"


def test_data_that_does_not_fit_is_422() -> None:
    app, _ = waiting()
    with TestClient(app) as client:
        for data in ({"a": 1}, {"a": "x", "b": 2}, 5, b"\0"):
            kind = "a/b" if isinstance(data, bytes) else None
            response = post(client, order(data, type="add", datacontenttype=kind))
            assert (response.status_code, response.text) == (
                422,
                "the data of the event is not what its handler takes\n",
            )


def test_a_handler_that_takes_too_long_is_504() -> None:
    app, _ = waiting()
    with TestClient(app) as client:
        assert post(client, order({"a": 1, "b": 1}, type="add")).status_code == 504


def test_a_batch_is_handled_in_order() -> None:
    app, seen = waiting()
    with TestClient(app) as client:
        assert post(client, [order(n, type="note") for n in range(3)]).status_code == 204
        assert post(client, [order(5, type="note"), order(type="raise gone"), order(6, type="note")]).status_code == 410
        assert post(client, [order(7, type="note"), order(type="nobody")]).status_code == 404
    assert [payload for payload, *_ in seen] == [0, 1, 2, 5]  # a batch is checked as a whole, and handled one by one


def test_a_sender_cannot_reach_routes_of_requests() -> None:
    app, _ = waiting()

    @app.get("/secret")
    async def secret() -> None:
        pytest.fail("a sender is here")

    with TestClient(app) as client:
        assert post(client, order(type="GET:/secret")).status_code == 404


def test_all_subscribers_get_the_cloudevent() -> None:
    one, got = Receiving(wait=True), []
    for name in ("first", "second"):

        async def subscriber(event: Event, same: CloudEvent, name: str = name) -> None:
            assert event.ctx is not None
            got.append((name, same.id, event.key))

        one.app.subscribe("fan out", name=name)(subscriber)
    with one.client() as client:
        assert post(client, order(type="fan out", id="7")).status_code in {200, 204}
    assert sorted(got) == [("first", "7", None), ("second", "7", None)]
