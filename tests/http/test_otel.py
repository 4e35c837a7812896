"""Spans of OpenTelemetry, made and exported by its own SDK."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind, StatusCode

from tests.http.helpers import serving as http_serving
from tests.http.readings import Counting
from tests.http.spans import CALLER, TRACE, Kept
from tests.server import serving
from tiny_listener import Listener, Param
from tiny_listener.http import FileResponse, HTTPError, HTTPListener, Request, Response
from tiny_listener.http.testing import TestClient
from tiny_listener.otel import instrument


def application(kept: Kept) -> HTTPListener:
    app = HTTPListener()
    instrument(app, kept.provider)

    @app.get("/user/{username}")
    async def hello(username: Param) -> str:
        return f"{trace.get_current_span().get_span_context().span_id:x}"

    @app.get("/suspends")
    async def suspends() -> str:
        before = trace.get_current_span()
        await asyncio.sleep(0)
        assert trace.get_current_span() is before
        await app.trigger_event("note it")
        return "done"

    @app.on_event("note it")
    async def note() -> None: ...

    @app.route("BREW", "/pot")
    async def brew() -> Response:
        return Response("tea", 201)

    @app.get("/refused")
    async def refused() -> None:
        raise HTTPError(403, "no")

    @app.post("/small", max_body=3)
    async def small(request: Request) -> bytes:
        return await request.body()

    @app.get("/failed")
    async def failed() -> None:
        raise ZeroDivisionError("deliberate")

    @app.get("/handled")
    async def handled() -> None:
        raise KeyError("deliberate")

    @app.get("/unwell")
    async def unwell() -> Response:
        return Response("", 503)

    @app.get("/file")
    async def file() -> FileResponse:
        return FileResponse(__file__)

    @app.on_error(KeyError)
    async def on_key(error: KeyError) -> Response:
        return Response("handled", 418)

    return app


@pytest.mark.parametrize(
    ("method", "path", "name", "attributes", "status"),
    [
        ("GET", "/user/Bob?x=1", "GET /user/{username}",
         {"http.route": "/user/{username}", "url.path": "/user/Bob", "url.query": "x=1",
          "http.response.status_code": 200}, StatusCode.UNSET),
        ("HEAD", "/user/Bob", "HEAD /user/{username}",
         {"http.request.method": "HEAD", "http.response.status_code": 200}, StatusCode.UNSET),
        ("BREW", "/pot", "HTTP /pot",
         {"http.request.method": "_OTHER", "http.request.method_original": "BREW", "http.response.status_code": 201},
         StatusCode.UNSET),
        ("GET", "/refused", "GET /refused", {"http.response.status_code": 403}, StatusCode.UNSET),
        ("GET", "/failed", "GET /failed",
         {"http.response.status_code": 500, "error.type": "ZeroDivisionError"}, StatusCode.ERROR),
        ("GET", "/handled", "GET /handled",
         {"http.response.status_code": 418, "error.type": "KeyError"}, StatusCode.UNSET),
        ("GET", "/unwell", "GET /unwell", {"http.response.status_code": 503, "error.type": "503"}, StatusCode.ERROR),
    ],
)  # fmt: skip
def test_each_request_is_a_span(
    method: str, path: str, name: str, attributes: dict[str, Any], status: StatusCode
) -> None:
    kept = Kept()
    TestClient(application(kept), raise_server_exceptions=False).request(method, path, headers={"user-agent": "me"})
    [span] = kept.spans()
    assert (span.name, span.kind, span.status.status_code) == (name, SpanKind.SERVER, status)
    assert span.parent is None
    found = dict(span.attributes or {})
    common = {"url.scheme": "http", "network.protocol.version": "1.1", "user_agent.original": "me"}
    assert found.items() >= {**common, **attributes}.items()
    assert ("error.type" in found) is ("error.type" in attributes)


def test_a_body_that_is_too_long_is_no_error_of_the_server(runner: asyncio.Runner) -> None:
    kept = Kept()

    async def main() -> None:
        async with http_serving(application(kept)) as server:
            client = await server.connect()
            await client.send(b"POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert (await client.ask(b"4\r\nabcd\r\n0\r\n\r\n")).status == 413

    runner.run(main())
    [span] = kept.spans()
    assert dict(span.attributes or {})["http.response.status_code"] == 413
    assert "error.type" not in (span.attributes or {})
    assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())


def test_metrics_are_told_of_the_trace_of_its_span() -> None:
    kept = Kept()
    app = application(kept)
    told: list[str | None] = []

    class Noting(Counting):
        def http_response(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
            told.append(trace_id)

    with TestClient(app) as client:
        app.routes["suspends"].observer = Noting()
        client.get("/suspends")
    outer = kept.spans()[-1]
    assert told == [f"{outer.context.trace_id:032x}"]


def test_a_file_has_no_status_yet() -> None:
    kept = Kept()
    TestClient(application(kept)).get("/file")
    [span] = kept.spans()
    assert "http.response.status_code" not in (span.attributes or {})


def test_what_no_route_serves_has_none() -> None:
    kept = Kept()
    assert TestClient(application(kept)).get("/nothing").status_code == 404
    assert kept.spans() == []


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False)])
def test_the_trace_of_the_caller_goes_on(flags: str, sampled: bool) -> None:
    kept = Kept()
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-{flags}", "tracestate": "a=1"}
    response = TestClient(application(kept)).get("/user/Bob", headers=headers)
    spans = kept.spans()
    assert bool(spans) is sampled  # who samples by the parent, as the SDK does unless told otherwise, heeds its flag
    for span in spans:
        assert span.parent is not None
        assert (f"{span.parent.trace_id:x}", f"{span.parent.span_id:016x}") == (TRACE, CALLER)
        assert span.parent.is_remote
        assert span.context.trace_state.get("a") == "1"
        assert response.text == f"{span.context.span_id:x}"  # the handler's current one


def test_an_event_of_a_handler_is_a_child_of_its_span() -> None:
    kept = Kept()
    client = TestClient(application(kept))
    assert client.get("/suspends").text == "done"
    inner, outer = kept.spans()
    assert (inner.name, inner.kind, outer.name) == ("note it", SpanKind.INTERNAL, "GET /suspends")
    assert inner.parent == outer.context
    client.get("/user/Bob")
    [other] = kept.spans()
    assert other.parent is None  # nothing is left of the request before
    assert other.context.trace_id != outer.context.trace_id


def test_events_that_fail_and_time_out(runner: asyncio.Runner) -> None:
    kept = Kept()
    app: Listener[Any] = Listener()
    instrument(app, kept.provider)

    @app.on_event("fail")
    async def fail() -> None:
        raise ValueError("deliberate")

    @app.on_event("wait")
    async def wait() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        with pytest.raises(ValueError, match="deliberate"):
            await app.trigger_event("fail")
        with pytest.raises(TimeoutError):
            await app.trigger_event("wait", timeout=0.001)
        task = app.trigger_event("wait")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    runner.run(main())
    spans = kept.spans()
    assert [dict(span.attributes or {})["error.type"] for span in spans] == [
        "ValueError", "TimeoutError", "CancelledError",
    ]  # fmt: skip
    assert {span.status.status_code for span in spans} == {StatusCode.ERROR}


@pytest.fixture
def collector() -> Iterator[tuple[int, list[Any]]]:
    """A port that takes OTLP over HTTP, and the spans that came."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
            for resource in request.resource_spans:
                received.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port, received
        server.shutdown()
        thread.join()


@pytest.mark.e2e
@pytest.mark.parametrize("options", [["--workers", "1"], ["--workers", "3"], ["--workers", "3", "--preload"]])
def test_each_worker_exports_all_that_it_has_before_it_ends(
    collector: tuple[int, list[Any]], options: list[str]
) -> None:
    port, received = collector
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with serving("traced:app", *options, env=env) as server:
        pids = {server.get("/user/Bob")[1].split()[1] for _ in range(60)}
        assert server.stop() == 0
        assert "Traceback" not in server.log
    assert len(pids) == int(options[1])
    names = sorted(span.name for span in received)
    assert names == ["GET /user/{username}"] * 60 + ["greet {name}"] * 60
    assert len({span.trace_id for span in received}) == 60
