"""An endpoint that publishes CloudEvents: what it answers, and what handlers get."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.http.cloudevents.receivers import Receiving, order, post
from tiny_listener import CarrierError, Event, EventsOverloaded, NotStored, Publication
from tiny_listener.cloudevents import CloudEvent, to_http, to_http_batch
from tiny_listener.events.settings import Limits
from tiny_listener.http import HTTPListener
from tiny_listener.http.testing import TestClient

FUTURE, PAST = (
    ("2999-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"),
    ("2000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59"),
)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Total(msgspec.Struct):
    total: int


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_an_event_is_stored_and_handled(mode: Any) -> None:
    one = Receiving()
    event = order({"total": 5}, subject="7 \u20ac", extensions={"partitionkey": "ann", "n": 5})
    with one.client() as client:
        response = post(client, event, mode)
        assert (response.status_code, response.content) == (202, b"")
    (seen,) = one.seen
    assert (seen.id, seen.key, seen.payload) == (event.dedup_id, "ann", {"total": 5})
    expected = event.attributes | ({"datacontenttype": "application/json"} if mode == "binary" else {})
    assert seen.attributes == expected
    assert CloudEvent.from_event(seen).attributes == expected


def test_a_handler_may_ask_for_the_cloudevent() -> None:
    one, got = Receiving(path="cloudevent {type}"), []

    @one.app.on_event("cloudevent {kind}")
    async def handle(kind: str, event: CloudEvent, total: Total) -> None:
        got.append((kind, event.subject, event.data, total))

    with one.client() as client:
        assert post(client, order({"total": 5}, subject="7", type="x/y")).status_code == 404  # {kind} has no slash
        assert post(client, order({"total": 5}, subject="7")).status_code == 202
    assert got == [("order.placed", "7", {"total": 5}, Total(5))]


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"\0\xff", "image/png"), (b"\0", None), ("<a/>", "text/xml"), (5, None), (None, None), ([], None)],
)
def test_data_of_any_kind(data: Any, kind: str | None) -> None:
    one = Receiving()
    with one.client() as client:
        assert post(client, order(data, datacontenttype=kind), "structured").status_code == 202
    assert one.seen[0].payload == data


def test_a_repeated_delivery_is_stored_once() -> None:
    one = Receiving()
    with one.client() as client:
        for event in (
            order(id="1"),
            order(id="1"),
            order(id="1", subject="x"),
            order(id="1", source="/other"),
            order(id="2"),
        ):
            assert post(client, event).status_code == 202
    assert len(one.seen) == 3


def test_the_key_is_the_partitionkey_or_a_template() -> None:
    cases: list[tuple[dict[str, Any], CloudEvent, str | None]] = [
        ({}, order(), None),
        ({}, order(extensions={"partitionkey": 5}), "5"),
        ({"key": "{subject} of {source}"}, order(subject="7", extensions={"partitionkey": "x"}), "7 of /shop"),
    ]
    for options, event, key in cases:
        one = Receiving(**options)
        with one.client() as client:
            assert post(client, event).status_code == 202
        assert one.seen[0].key == key


def test_a_key_has_256_bytes() -> None:
    with Receiving().client() as client:
        assert post(client, order(extensions={"partitionkey": "k" * 256})).status_code == 202
        response = post(client, order(id="7", extensions={"partitionkey": "k" * 257}))
        assert (response.status_code, response.text) == (
            400,
            "the key of the event must have 1 to 256 bytes of UTF-8\n",
        )
    with Receiving(key="{subject}").client() as client:
        response = post(client, order())
        assert (response.status_code, response.text) == (
            400, "the CloudEvent lacks subject, which this receiver needs for '{subject}'\n",
        )  # fmt: skip


def test_the_trace_is_that_of_the_event() -> None:
    one = Receiving()
    with one.client() as client:
        post(client, order(extensions={"traceparent": TRACE, "tracestate": "a=1"}))
    assert (one.seen[0].attributes["traceparent"], one.seen[0].attributes["tracestate"]) == (TRACE, "a=1")


def test_an_event_that_has_expired_is_discarded() -> None:
    one = Receiving()
    with one.client() as client:
        for time in (*PAST, *FUTURE):
            assert post(client, order(extensions={"expirytime": time})).status_code == 202
    assert [event.attributes["expirytime"] for event in one.seen] == list(FUTURE)


def test_a_batch_is_stored() -> None:
    one = Receiving()
    with one.client() as client:
        assert post(client, [order(n, id=str(n)) for n in range(100)]).status_code == 202
        assert post(client, []).status_code == 202
    assert sorted(event.payload for event in one.seen) == list(range(100))


def test_of_a_batch_with_a_wrong_event_nothing_is_stored() -> None:
    one = Receiving()
    good = [order(n, id=str(n)) for n in range(2)]
    wrong: list[tuple[Any, int, str]] = [
        (order(type="nobody"), 404, "event 3 of the batch: nothing here handles events of the type 'nobody'\n"),
        (order(extensions={"tlholds": "x"}), 400, "event 3 of the batch: extensions that begin with 'tl' are reserved"),
        (order(extensions={"partitionkey": "k" * 257}), 400, "must have 1 to 256 bytes"),
        (order("x" * 300_000), 413, "bytes, and at most 262144 are allowed"),
    ]
    with one.client() as client:
        for event, status, text in wrong:
            response = post(client, [*good, event])
            assert (response.status_code, text in response.text) == (status, True), response.text
        kind = {"content-type": "application/cloudevents-batch+json"}
        body = to_http_batch(good).body[:-1] + b', {"id": "3"}]'
        response = client.post("/events", content=body, headers=kind)
        assert (response.status_code, response.text) == (
            400, "event 3 of the batch: the CloudEvent lacks specversion and source and type, which every event has\n",
        )  # fmt: skip
    assert one.seen == []


def test_data_that_is_nested_deeply() -> None:
    statuses = set()
    with Receiving().client() as client:
        for depth in (*range(100, 1100, 50), 5_000, 9_000, 9_900, 10_000, 20_000, 100_000):
            headers = dict(to_http(order()).headers) | {"content-type": "application/json", "ce-id": str(depth)}
            statuses.add(client.post("/events", content=b"[" * depth + b"]" * depth, headers=headers).status_code)
    assert statuses == {202, 400}


def test_a_batch_that_was_stored_in_part_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Receiving()
    events = [order(n, id=str(n)) for n in range(4)]
    store = one.app.publish_many

    async def store_some(several: list[Publication], *, timeout: float) -> None:
        await store(several[:2], timeout=timeout)
        raise ExceptionGroup("2 of 4", [EventsOverloaded("no room"), EventsOverloaded("no room")])

    with one.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(one.app, "publish_many", store_some)
            assert post(client, events).status_code == 429
        assert sorted(event.payload for event in one.seen) == [0, 1]
        assert post(client, events).status_code == 202
    assert sorted(event.payload for event in one.seen) == [0, 1, 2, 3]


def test_a_batch_has_a_limit() -> None:
    with Receiving(max_batch=3).client() as client:
        assert post(client, [order() for _ in range(3)]).status_code == 202
        response = post(client, [order() for _ in range(4)])
        assert (response.status_code, response.text) == (413, "a batch has at most 3 events here\n")


def test_a_body_has_a_limit() -> None:
    with Receiving(max_body=1000).client() as client:
        assert post(client, order(b"x" * 1000, datacontenttype="a/b")).status_code == 202
        assert post(client, order(b"x" * 1001, datacontenttype="a/b")).status_code == 413


def test_64_kib_are_taken() -> None:
    one = Receiving()
    with one.client() as client:
        for mode in ("binary", "structured"):
            assert post(client, order("x" * 65_536), mode).status_code == 202
        assert post(client, order("x" * 262_000)).status_code == 413
    assert len(one.seen) == 2


def test_what_is_malformed_is_400() -> None:
    binary = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "order.placed"}
    structured = {"content-type": "application/cloudevents+json"}
    cases: list[tuple[dict[str, str], bytes, str]] = [
        ({"ce-specversion": "1.0", "ce-id": "1"}, b"", "the CloudEvent lacks source and type, which every event has"),
        ({**binary, "ce-specversion": "0.3"}, b"", "specversion must be '1.0'"),
        ({**binary, "ce-subject": "%C0%A0"}, b"", "the header 'ce-subject' is not UTF-8 when decoded"),
        ({**binary, "ce-time": "now"}, b"", "time must be a time of RFC 3339"),
        ({**binary, "content-type": "application/json"}, b"{", "the body is not what it says, JSON"),
        (structured, b"{}", "the CloudEvent lacks specversion and id and source and type"),
        (structured, b"[", "the CloudEvent is not what it says, JSON"),
        (structured, b"\xff", "the CloudEvent is not what it says, JSON"),
        ({**binary, "ce-tlredrive": "1"}, b"", "extensions that begin with 'tl' are reserved here: tlredrive"),
    ]
    one = Receiving()
    with one.client() as client:
        for headers, body, text in cases:
            response = client.post("/events", content=body, headers=headers)
            assert response.status_code == 400, text
            assert response.text.startswith(text)
    assert one.seen == []


def test_a_format_that_is_not_known_is_415() -> None:
    message = to_http(order({"total": 5}))
    cases: list[tuple[dict[str, str], str]] = [
        ({"content-type": "application/json"}, "the message is no CloudEvent"),
        ({}, "the message is no CloudEvent"),
        (
            {"content-type": "application/cloudevents+avro"},
            "the format 'application/cloudevents+avro' is not known here",
        ),
        ({"content-type": "application/cloudevents-batch+x"}, "the format 'application/cloudevents-batch+x'"),
        ({**dict(message.headers), "content-encoding": "gzip"}, "the content coding 'gzip' is not known here"),
    ]
    with Receiving().client() as client:
        for headers, text in cases:
            response = client.post("/events", content=message.body, headers=headers)
            assert response.status_code == 415, text
            assert response.text.startswith(text)
            assert "accept" in response.headers or "accept-encoding" in response.headers


def test_a_sender_cannot_reach_routes_of_requests() -> None:
    one = Receiving()

    @one.app.get("/secret")
    async def secret() -> None:
        pytest.fail("a sender is here")

    with one.client() as client:
        for kind in ("GET:/secret", "POST:/events", "nobody"):
            assert post(client, order(type=kind)).status_code == 404


def test_without_any_route_of_events() -> None:
    app = HTTPListener()
    app.listen_cloudevents("/events")
    with TestClient(app) as client:
        assert post(client, order()).status_code == 404


def test_overload_is_429() -> None:
    one = Receiving(Limits(max_events=2), timeout=0.05)

    @one.app.on_event("stays")
    async def stays(event: Event) -> None:
        event.prevent_auto_done()

    one.app.host.graceful_timeout = 0.01
    with one.client() as client:
        assert post(client, [order(type="stays"), order(type="stays")]).status_code == 202
        for events in (order(), [order(), order()]):
            response = post(client, events)
            assert (response.status_code, response.headers["retry-after"]) == (429, "5")
            assert response.text == "too many events are waiting\n"


@pytest.mark.parametrize(("error", "status"), [(NotStored("?"), 503), (CarrierError("?"), 500)])
def test_what_is_not_stored_is_not_202(error: Exception, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Receiving()

    async def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(one.app, "publish_many", fail)
    with one.client(raise_server_exceptions=False) as client:
        response = post(client, order())
        assert response.status_code == status
        assert ("retry-after" in response.headers) == (status == 503)


def test_an_endpoint_that_is_retired_is_410() -> None:
    with Receiving(retired=True).client() as client:
        assert post(client, order()).status_code == 410
        assert client.post("/events", content=b"anything").status_code == 410


def test_only_post_delivers() -> None:
    with Receiving().client() as client:
        for method in ("GET", "PUT", "DELETE"):
            response = client.request(method, "/events")
            assert (response.status_code, "POST" in response.headers["allow"]) == (405, True)


@pytest.mark.parametrize(
    "options", [{"path": ""}, {"path": "{"}, {"key": "{A}"}, {"timeout": 0}, {"timeout": "5"}, {"max_batch": 0}]
)
def test_mistakes_are_told(options: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        Receiving(**options)


def test_two_endpoints() -> None:
    one = Receiving()
    one.app.listen_cloudevents("/other", path="order.{id}")
    with one.client() as client:
        assert post(client, order(id="7", type="x"), at="/other").status_code == 202
    assert one.seen[0].params == {"what": "7"}
