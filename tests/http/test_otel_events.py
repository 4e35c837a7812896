"""Spans of OpenTelemetry for published events, through a carrier in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from tests.http.helpers import until
from tests.http.spans import CALLER, TRACE, Kept
from tiny_listener import Event, EventsOverloaded, Reject, Retry
from tiny_listener.core.publishing.embedded import EmbeddedCarrier
from tiny_listener.core.runtime import Host
from tiny_listener.events.settings import EventSettings, Limits
from tiny_listener.http import HTTPListener
from tiny_listener.http.testing import TestClient
from tiny_listener.otel import instrument

CIDS = {"together": "job 7"}


def spans_of(path: str, count: int, limits: Limits | None = None) -> list[ReadableSpan]:
    """Publish an event by a request, wait for so many spans, and return them in the order in which they ended."""
    kept = Kept()
    app = HTTPListener()
    instrument(app, kept.provider)
    carrier = EmbeddedCarrier(EventSettings(limits=limits or Limits()))
    app.attach(Host(carrier=carrier))

    @app.on_event("work {what}", retry=Retry(max_attempts=2, first=0.05, most=0.05))
    async def work(what: str, event: Event) -> None:
        if what == "reject":
            raise Reject("unwanted")
        if what == "again" and event.attempt == 1:
            raise ValueError("deliberate")

    @app.on_error(Reject)
    async def on_reject() -> str:
        return "noted"

    @app.post("/publish/{what}")
    async def publish(what: str) -> str:
        return (await app.publish(f"work {what}", key="a", id=f"id {what}", cid=CIDS.get(what))).id

    @app.post("/outside")
    async def outside() -> str:
        parent = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "a=1"}
        return (await app.publish("work outside", attributes=parent)).id

    @app.post("/refused")
    async def refuse() -> None:
        with pytest.raises(EventsOverloaded):
            await app.publish("work refused", timeout=0.05)

    found: list[ReadableSpan] = []

    def enough() -> bool:
        found.extend(kept.spans())
        return len(found) >= count

    with TestClient(app) as client:
        assert client.post(path).status_code in {200, 204}
        runner: Any = client._runner
        runner.run(asyncio.wait_for(until(enough), 20))
    assert carrier.service is None
    return found


def by_name(spans: list[ReadableSpan]) -> dict[str, ReadableSpan]:
    found = {span.name: span for span in spans}
    assert len(found) == len(spans)
    return found


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize(("what", "cid"), [("alone", None), ("together", "job 7")])
def test_an_attempt_is_a_child_of_the_publishing_which_is_one_of_the_request(what: str, cid: str | None) -> None:
    spans = by_name(spans_of(f"/publish/{what}", 3))
    request, send, process = spans["POST /publish/{what}"], spans["send work {what}"], spans["process work {what}"]
    assert (send.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert send.parent == request.context
    assert process.parent is not None
    assert process.parent.is_remote
    assert (process.parent.trace_id, process.parent.span_id) == (send.context.trace_id, send.context.span_id)
    for span, operation in ((send, "send"), (process, "process")):
        assert (
            attributes(span).items()
            >= {
                "messaging.system": "tiny_listener",
                "messaging.destination.template": "work {what}",
                "messaging.message.id": f"id {what}",
                "messaging.operation.type": operation,
            }.items()
        )
        assert attributes(span).get("messaging.message.conversation_id") == cid
        assert span.status.status_code is StatusCode.UNSET
    assert "traceparent" not in str(attributes(process))


def test_each_failed_attempt_is_a_span_with_an_error() -> None:
    spans = [span for span in spans_of("/publish/again", 4) if span.kind is SpanKind.CONSUMER]
    assert [attributes(span)["tiny_listener.attempt"] for span in spans] == [1, 2]
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR, StatusCode.UNSET]
    assert attributes(spans[0])["error.type"] == "ValueError"
    assert spans[0].parent == spans[1].parent


def test_an_error_handler_does_not_make_an_attempt_succeed() -> None:
    process = by_name(spans_of("/publish/reject", 3))["process work {what}"]
    assert process.status.status_code is StatusCode.ERROR
    assert attributes(process)["error.type"] == "Reject"


def test_a_trace_that_the_application_gives_goes_on() -> None:
    spans = by_name(spans_of("/outside", 3))
    send, process = spans["send work {what}"], spans["process work {what}"]
    assert send.parent is not None
    assert (f"{send.parent.trace_id:x}", f"{send.parent.span_id:016x}") == (TRACE, CALLER)
    assert process.context.trace_id == send.context.trace_id
    assert process.context.trace_state.get("a") == "1"


def test_an_event_that_is_not_stored_is_a_span_with_an_error() -> None:
    send = by_name(spans_of("/refused", 2, Limits(max_events=0)))["send work {what}"]
    assert send.status.status_code is StatusCode.ERROR
    assert attributes(send)["error.type"] == "EventsOverloaded"
