"""Deliveries to receivers over sockets, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.http.helpers import serving
from tests.server import free_port
from tiny_listener import Retry
from tiny_listener.cloudevents import CloudEvent, InvalidCloudEvent, iter_http
from tiny_listener.errors import CannotLoad
from tiny_listener.http import HTTPListener, Request, Response
from tiny_listener.http.cloudevents import CloudEventNotDelivered
from tiny_listener.http.cloudevents.sender import MAX_BLOCKED, Sender
from tiny_listener.http.testing import TestClient

EVENT = CloudEvent("order.placed", "/shop", {"total": 5}, id="1", subject="\u20ac")


class Receiver:
    """Answers deliveries as it is told."""

    def __init__(self) -> None:
        self.app = HTTPListener()
        self.answers: list[Response] = []
        self.got: list[CloudEvent] = []
        self.requests: list[Request] = []
        self.app.post("/events")(self.take)

    async def take(self, request: Request) -> Response:
        self.requests.append(request)
        self.got += iter_http(request.fields, await request.body())
        return self.answers.pop(0) if self.answers else Response(status=202)


class Waits:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Sending:
    """A listener that sends, and the receiver it sends to."""

    def __init__(self, receiver: Receiver, port: int) -> None:
        self.receiver = receiver
        self.url = f"http://127.0.0.1:{port}/events"
        self.app = HTTPListener()
        self.waits = Waits()
        self.app._sender = Sender(lambda: self.waits.now, self.waits.sleep, lambda _, most: most)

    async def send(self, event: Any = EVENT, **options: Any) -> Any:
        return await self.app.send_cloudevent(self.url, event, plain_http=True, **options)

    async def fail(self, match: str, **options: Any) -> CloudEventNotDelivered:
        with pytest.raises(CloudEventNotDelivered, match=match) as raised:
            await self.send(**options)
        return raised.value


@asynccontextmanager
async def sending() -> AsyncIterator[Sending]:
    receiver = Receiver()
    async with serving(receiver.app) as server:
        yield Sending(receiver, server.port)


def run(runner: asyncio.Runner, test: Callable[[Sending], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with sending() as one:
            await test(one)

    runner.run(main())


def test_an_event_is_delivered(runner: asyncio.Runner) -> None:
    async def test(one: Sending) -> None:
        one.receiver.answers = [Response({"ok": True}, 201), Response(status=204)]
        answer = await one.send()
        assert (answer.status, answer.body, dict(answer.headers)["content-type"]) == (
            201,
            b'{"ok":true}',
            "application/json",
        )
        assert (await one.send(mode="structured")).status == 204
        assert (await one.send([EVENT, EVENT.replace(id="2")], mode="batched")).status == 202
        assert one.receiver.got == [
            EVENT.replace(datacontenttype="application/json"), EVENT, EVENT, EVENT.replace(id="2"),
        ]  # fmt: skip
        assert {request.method for request in one.receiver.requests} == {"POST"}

    run(runner, test)


def test_what_a_delivery_carries(runner: asyncio.Runner) -> None:
    async def test(one: Sending) -> None:
        await one.send(token="t", origin="me.example", headers={"X-A": "b"})
        headers = one.receiver.requests[0].headers
        assert headers["authorization"] == "Bearer t"
        assert headers["webhook-request-origin"] == "me.example"
        assert (headers["x-a"], headers["content-type"]) == ("b", "application/json")
        assert headers["accept-encoding"] == "identity"

    run(runner, test)


def test_a_redirect_is_not_followed(runner: asyncio.Runner) -> None:
    async def test(one: Sending) -> None:
        one.receiver.answers = [Response(status=308, headers={"location": one.url})]
        error = await one.fail("it redirects")
        assert (error.status, error.is_final, len(one.receiver.requests)) == (308, True, 1)

    run(runner, test)


def test_a_final_failure_is_not_repeated(runner: asyncio.Runner) -> None:
    async def test(one: Sending) -> None:
        one.receiver.answers = [Response("gone", 410), Response("no", 415), Response("bad", 400)]
        for status in (410, 415, 400):
            error = await one.fail(str(status), retry=Retry(max_attempts=5))
            assert (error.status, error.is_gone, error.is_final) == (status, status == 410, True)
        assert len(one.receiver.requests) == 3
        assert one.waits.slept == []

    run(runner, test)


def test_another_failure_is_repeated(runner: asyncio.Runner) -> None:
    async def test(one: Sending) -> None:
        one.receiver.answers = [Response(status=500), Response(status=503)]
        assert (await one.send(retry=Retry(max_attempts=3, first=1, factor=3))).status == 202
        assert one.waits.slept == [1, 3]
        assert {event.dedup_id for event in one.receiver.got} == {EVENT.dedup_id}
        one.receiver.answers = [Response(status=500)] * 5
        error = await one.fail("500 Internal Server Error", retry=Retry(max_attempts=2))
        assert (error.is_final, len(one.receiver.answers)) == (False, 3)
        await one.fail("500 Internal Server Error")  # without retry= once
        assert len(one.receiver.answers) == 2

    run(runner, test)


def test_retry_after_is_observed(runner: asyncio.Runner) -> None:
    async def test(one: Sending) -> None:
        busy = Response("busy", 429, {"retry-after": "7"})
        one.receiver.answers = [busy]
        assert (await one.send(retry=Retry(max_attempts=2, first=1))).status == 202
        assert one.waits.slept == [7]
        one.receiver.answers = [busy]
        assert (await one.fail("429 Too Many Requests: it has too many requests")).retry_after == 7
        one.waits.now += 6
        error = await one.fail("it wanted no request for another 1 s")  # other calls wait as well
        assert (error.status, error.retry_after, error.is_final) == (429, 1, False)
        assert len(one.receiver.requests) == 3
        one.waits.now += 1
        assert (await one.send()).status == 202
        one.receiver.answers = [Response("", 503, {"retry-after": "301"})]
        assert (await one.fail("503", retry=Retry(max_attempts=2))).retry_after == 301  # longer than its `most`

    run(runner, test)


def test_what_receivers_said_is_not_kept_without_end() -> None:
    now = 0.0
    sender = Sender(lambda: now)
    for n in range(MAX_BLOCKED):
        sender._block(f"receiver {n}", 10 + n)
    assert len(sender._blocked) == MAX_BLOCKED
    sender._block("one more", 5)
    assert len(sender._blocked) == MAX_BLOCKED
    assert "receiver 0" not in sender._blocked  # the one that would have ended next
    now = 500.0
    sender._block("later", 5)
    assert len(sender._blocked) == MAX_BLOCKED - 490


def test_a_receiver_that_does_not_answer(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            app = HTTPListener()
            with pytest.raises(CloudEventNotDelivered, match=r"no answer within 0\.1 s") as raised:
                await app.send_cloudevent(f"http://127.0.0.1:{port}/", EVENT, plain_http=True, timeout=0.1)
            assert (raised.value.status, raised.value.is_final) == (None, False)
        url = f"http://127.0.0.1:{free_port()}/x?access_token=secret"
        with pytest.raises(CloudEventNotDelivered, match="the connection failed") as raised:
            await app.send_cloudevent(url, EVENT, plain_http=True)
        assert "secret" not in str(raised.value)
        assert not raised.value.is_final

    runner.run(main())


def test_a_long_answer_is_cut(runner: asyncio.Runner) -> None:
    async def test(one: Sending) -> None:
        one.receiver.answers = [
            Response(b"x" * 64 * 1024),
            Response(b"x" * (64 * 1024 + 1)),
            Response(b"x" * 5_000_000),
        ]
        for _ in range(3):
            assert len((await one.send()).body) == 64 * 1024

    run(runner, test)


def test_a_running_listener_keeps_its_connections() -> None:
    app = HTTPListener()
    opened: list[httpx.AsyncClient] = []

    @app.post("/go")
    async def go() -> None:
        sender = app._sender = app._sender or Sender()
        with pytest.raises(CloudEventNotDelivered):
            await app.send_cloudevent(f"http://127.0.0.1:{free_port()}/", EVENT, plain_http=True)
        assert sender._client is not None
        opened.append(sender._client)

    for life in range(2):
        with TestClient(app) as client:
            assert [client.post("/go").status_code for _ in range(2)] == [204, 204]
        assert opened[2 * life] is opened[2 * life + 1]
        assert opened[-1].is_closed
    assert opened[0] is not opened[-1]


def test_with_a_client_of_ones_own(runner: asyncio.Runner) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(204)

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), follow_redirects=True) as client:
            answered = await HTTPListener().send_cloudevent("https://example.com/a", EVENT, client=client)
        assert answered.status == 204
        assert str(asked[0].url) == "https://example.com/a"

    runner.run(main())


def test_mistakes_are_told(runner: asyncio.Runner) -> None:
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"url": "http://example.com"}, ValueError, "plain_http=True sends without TLS"),
        ({"url": "/events"}, ValueError, "takes the URL of a receiver"),
        ({"url": "ftp://example.com"}, ValueError, "takes the URL of a receiver"),
        ({"mode": "batched"}, TypeError, "takes a list"),
        ({"event": [EVENT]}, TypeError, "need mode='batched'"),
        ({"event": [EVENT, 5], "mode": "batched"}, TypeError, "takes a CloudEvent, or a list of them"),
        ({"event": CloudEvent("t", "/")}, ValueError, "a delivery has a body and a Content-Type"),
        ({"event": CloudEvent("t", "/", b"x")}, ValueError, "bytes a datacontenttype="),
        ({"event": CloudEvent("t", "/", object())}, InvalidCloudEvent, "data takes"),
        ({"mode": "other"}, ValueError, "mode= takes"),
        ({"timeout": 0}, ValueError, "timeout="),
        ({"retry": 5}, TypeError, "retry= takes a Retry"),
        ({"token": "a\nb"}, ValueError, "control character"),
        ({"headers": {"content-length": "5"}}, ValueError, "the server writes the header"),
        ({"headers": {"content-type": "a/b"}}, ValueError, "only one Content-Type"),
    ]

    async def main() -> None:
        for given, error, match in cases:
            options = {"url": "https://example.com/events", "event": EVENT, **given}
            with pytest.raises(error, match=match):
                await HTTPListener().send_cloudevent(**options)

    runner.run(main())


def test_without_httpx(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)

    async def main() -> None:
        with pytest.raises(CannotLoad, match=r"needs httpx: pip install 'tiny-listener\[cloudevents\]'"):
            await HTTPListener().send_cloudevent("https://example.com", EVENT)

    runner.run(main())
