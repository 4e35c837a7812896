"""OpenTelemetry spans: one for each event, from any source. `pip install 'tiny-listener[otel]'`.

    from tiny_listener.otel import instrument

    instrument(app)

The official SDK makes and exports the spans, and is configured by its environment variables (OTEL_SERVICE_NAME,
OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER ...). Names and attributes follow its semantic conventions for HTTP.
https://opentelemetry.io/docs/specs/semconv/http/http-spans/
Those of published events follow its conventions for messaging, which are in development.
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

try:
    from opentelemetry import context, trace
    from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    from opentelemetry.trace.span import TraceState
except ImportError as exc:
    raise ImportError(f"{exc}: pip install 'tiny-listener[otel]'") from exc

from .. import __version__
from ..core.observer import KNOWN_METHODS
from ..core.publishing.events import PublishedEvent
from ..http.errors import ClientDisconnectedError, HTTPError, ProtocolError
from ..http.request import Request
from ..http.response import DeferredResponse, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.aliases import AnyEvent
    from ..core.listener import Listener
    from ..events.envelope import Envelope

__all__ = ["instrument"]


def instrument(listener: Listener[Any], provider: Any = None) -> None:
    """Create a span for each event of a listener. Call this after the listener is made and before it runs.

    The span of a request continues the trace in its `traceparent`. The span of an event that a handler triggers is a
    child of the handler's span. In handlers it is the current span. Requests without a route have no span.

    Publishing an event is a span too, and each attempt to handle the event is a child of that one, in whatever process
    and whenever it runs: the attribute `traceparent` of the event connects them.

    :param provider: an `opentelemetry.trace.TracerProvider`. The default one sends batches by OTLP over HTTP; it is
        made when the worker starts, and flushed and shut down when it ends
    """
    spans = _Spans()
    listener.hooks.add_watcher(spans)
    listener.hooks.senders.append(spans.sending)
    if provider is not None:
        spans.use(provider)
        return

    @listener.startup
    async def begin_to_export() -> None:
        spans.use(_exporting_provider())

    @listener.shutdown
    async def export_the_rest() -> None:
        await asyncio.to_thread(spans.provider.shutdown)


def _exporting_provider() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


TRACE_CONTEXT = TraceContextTextMapPropagator()
SECRET = re.compile(r"(?<![^&])access_token=[^&]*")
"""The token of a webhook in a query (RFC 6750 section 2.3)."""
"""Reads and writes `traceparent` and `tracestate`, as W3C Trace Context has them."""


class _Spans:
    """See `Watcher`."""

    def __init__(self) -> None:
        self.provider: Any = None
        self._tracer: trace.Tracer = trace.NoOpTracer()
        self._open: dict[AnyEvent, Span] = {}

    def use(self, provider: Any) -> None:
        """Use this provider for all spans from now on."""
        self.provider = provider
        self._tracer = provider.get_tracer("tiny_listener", __version__)

    def began(self, event: AnyEvent) -> None:
        """See `Watcher`."""
        request = event.data.get("request")
        if isinstance(request, Request):
            span = self._of_request(request, event.route.path)
            made = span.get_span_context()
            if made.trace_flags.sampled:
                request.traced_as = trace.format_trace_id(made.trace_id)
        elif event.id is not None:
            span = self._of_attempt(event, event.id)
        else:
            span = self._tracer.start_span(
                event.route.path, kind=SpanKind.INTERNAL, attributes={"tiny_listener.event": event.route.path}
            )
        self._open[event] = span
        context.attach(trace.set_span_in_context(span))  # the context belongs to the event and ends with it

    def _of_request(self, request: Request, path: str) -> Span:
        method = request.method if request.method in KNOWN_METHODS else "_OTHER"
        route = path.partition(":")[2]
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "http.route": route,
            "url.path": request.path,
            "url.scheme": request.scheme,
            "network.protocol.version": request.http_version,
        }
        if method == "_OTHER":
            attributes["http.request.method_original"] = request.method
        if request.query_string:
            attributes["url.query"] = SECRET.sub("access_token=REDACTED", request.query_string)
        if request.client is not None:
            attributes["client.address"], attributes["client.port"] = request.client
        if agent := request.header("user-agent"):
            attributes["user_agent.original"] = agent
        name = f"{'HTTP' if method == '_OTHER' else method} {route}"
        return self._tracer.start_span(name, _parent(request), SpanKind.SERVER, attributes)

    def sending(self, envelope: Envelope) -> Callable[[asyncio.Future[Any]], None]:
        """See `Sender`. A `traceparent` that the application has given the event is that of the parent."""
        given = TRACE_CONTEXT.extract(envelope.attributes) if "traceparent" in envelope.attributes else None
        attributes = _of_message("send", envelope.route, envelope.id, envelope.cid)
        span = self._tracer.start_span(f"send {envelope.route}", given, SpanKind.PRODUCER, attributes)
        envelope.attributes = dict(envelope.attributes)
        TRACE_CONTEXT.inject(envelope.attributes, trace.set_span_in_context(span))

        def stored(future: asyncio.Future[Any]) -> None:
            error = asyncio.CancelledError() if future.cancelled() else future.exception()
            if error is not None:
                _set_error(span, error)
            span.end()

        return stored

    def _of_attempt(self, event: AnyEvent, id: str) -> Span:  # noqa: A002
        parent = TRACE_CONTEXT.extract(event.attributes, context.Context())
        attributes = _of_message("process", event.route.path, id, _cid_of(event))
        attributes["tiny_listener.attempt"] = event.attempt
        return self._tracer.start_span(f"process {event.route.path}", parent, SpanKind.CONSUMER, attributes)

    def ended(self, event: AnyEvent) -> None:
        """See `Watcher`."""
        span = self._open.pop(event, None)
        if span is None:
            return
        if isinstance(event.data.get("request"), Request) and (status := _status(event)) is not None:
            span.set_attribute("http.response.status_code", status)
            if status >= 500 and event.error is None:
                span.set_attribute("error.type", str(status))
                span.set_status(Status(StatusCode.ERROR))
        error = event.error
        if error is not None and event.id is not None:
            _set_error(span, error)
        elif error is not None and event.outcome != "rejected":
            span.record_exception(error)
            span.set_attribute("error.type", type(error).__qualname__)
            if event.result is None:  # no error handler has answered
                span.set_status(Status(StatusCode.ERROR, str(error)))
        span.end()


def _of_message(operation: str, pattern: str, id: str, cid: str | None) -> dict[str, Any]:  # noqa: A002
    """Return the attributes of a span for a published event."""
    attributes = {
        "messaging.system": "tiny_listener",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.template": pattern,
        "messaging.message.id": id,
    }
    if cid is not None:
        attributes["messaging.message.conversation_id"] = cid
    return attributes


def _cid_of(event: AnyEvent) -> str | None:
    """Return the id of the context that an event was published for."""
    return event.delivery.envelope.cid if isinstance(event, PublishedEvent) else None


def _set_error(span: Span, error: BaseException) -> None:
    span.record_exception(error)
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(error)))


def _parent(request: Request) -> context.Context:
    """Return a context whose current span is the caller's; without a caller it has none."""
    caller = request.trace
    if caller is None:
        return context.Context()
    flags = TraceFlags(TraceFlags.SAMPLED if caller.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([caller.state]) if caller.state else None
    parent = SpanContext(
        int(caller.trace_id, 16), int(caller.parent_id, 16), is_remote=True, trace_flags=flags, trace_state=state
    )
    return trace.set_span_in_context(NonRecordingSpan(parent), context.Context())


def _status(event: AnyEvent) -> int | None:
    """Return the status of the response to an event's request; None if it is not known yet, as for a file."""
    result = event.result
    if isinstance(result, DeferredResponse):
        return None
    if isinstance(result, Response):
        return result.status
    if event.error is not None and result is None:
        if isinstance(event.error, ClientDisconnectedError):
            return 400
        return event.error.status if isinstance(event.error, (HTTPError, ProtocolError)) else 500
    return 204 if result is None else 200
