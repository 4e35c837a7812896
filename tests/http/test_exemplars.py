"""Which responses are told of with the trace that records them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.http.memory import MemoryTransport
from tests.http.readings import Counting, application
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPSettings
from tiny_listener.http.h1 import fast_path
from tiny_listener.http.h1.server import HTTPServer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Tracing(Counting):
    """Keeps the traces as well."""

    def __init__(self) -> None:
        super().__init__()
        self.traces: list[tuple[str, int, str]] = []

    def http_response(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        super().http_response(method, status, seconds)
        if trace_id is not None:
            self.traces.append((method, status, trace_id))

    http_unrouted = http_response


def ask(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


def traced(number: int, flags: str = "01") -> str:
    return f"traceparent: 00-{number:032x}-00f067aa0ba902b7-{flags}"


async def told(*requests: bytes, is_usual: bool = True) -> tuple[list[tuple[str, int, str]], Counter[Any]]:
    """Return what an observer is told of requests that arrive in one piece."""
    app = application()
    observer = Tracing()
    app.attach(Host(observer=observer))
    server = HTTPServer(app, HTTPSettings())
    if not is_usual:
        server.takes_fast_path = False
    transport = MemoryTransport(server)
    await transport.feed(ask("/"))  # from now on there is a task in whose name handlers run at once
    while not transport.written:
        await asyncio.sleep(0)
    observer.counts.clear()
    await transport.feed(b"".join(requests))
    await asyncio.sleep(0)  # the server reads in a call of its own, and not in this task
    await transport.end()
    server.abort()
    return observer.traces, observer.counts


@pytest.mark.parametrize("is_usual", [True, False])
@pytest.mark.parametrize("path", ["/", "/suspend", "/stream"])
@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_a_trace_that_is_recorded(runner: asyncio.Runner, path: str, name: str, is_usual: bool) -> None:
    field = f"{name}: 00-{TRACE}-00f067aa0ba902b7-01"
    traces, counts = runner.run(told(ask(path, "Accept: */*", field), is_usual=is_usual))
    assert traces == [("GET", 200, TRACE)]
    assert counts == {"ok": 1, ("GET", 200): 1}


@pytest.mark.parametrize("is_usual", [True, False])
@pytest.mark.parametrize(
    "fields",
    [
        [],
        [traced(1, "00")],
        [traced(0)],
        [traced(1), traced(1)],
        [f"x-traceparent: 00-{TRACE}-00f067aa0ba902b7-01"],
        [f"x: traceparent: 00-{TRACE}-00f067aa0ba902b7-01"],
    ],
)
def test_no_trace_that_is_recorded(runner: asyncio.Runner, fields: list[str], is_usual: bool) -> None:
    traces, counts = runner.run(told(ask("/", *fields), ask("/suspend", *fields), is_usual=is_usual))
    assert traces == []
    assert counts == {"ok": 2, ("GET", 200): 2}


def test_errors_and_what_no_route_serves(runner: asyncio.Runner) -> None:
    assert runner.run(told(ask("/fail", traced(7))))[0] == [("GET", 500, f"{7:032x}")]
    assert runner.run(told(ask("/", traced(1)), ask("/no", traced(7)), is_usual=False))[0][1:] == [
        ("GET", 404, f"{7:032x}")
    ]


@pytest.mark.parametrize(("slow", "examples"), [(60.0, [1]), (0.0, [1, 2, 3])])
def test_of_a_turn_the_first_and_the_slow_are_looked_at(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, slow: float, examples: list[int]
) -> None:
    monkeypatch.setattr(fast_path, "SLOW", slow)
    monkeypatch.setattr(fast_path, "MAX_SHARED_TIME", 60.0)  # a busy machine must not part them
    traces, counts = runner.run(told(*(ask("/", traced(number)) for number in (1, 2, 3))))
    assert traces == [("GET", 200, f"{number:032x}") for number in examples]
    assert counts == {"ok": 3, ("GET", 200): 3}
