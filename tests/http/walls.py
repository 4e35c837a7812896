"""What tests of the walls between connections share."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.http.helpers import Client, Serving
from tiny_listener.http import HTTPListener
from tiny_listener.http.h1.server import HTTPServer


def get(target: str, version: str = "1.1", fields: str = "") -> bytes:
    return f"GET {target} HTTP/{version}\r\n{fields}Host: x\r\n\r\n".encode()


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Return when the condition holds, within 10 s; other callbacks run meanwhile."""
    try:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)
    except TimeoutError:
        raise AssertionError(f"not within 10 s: {what or condition}") from None


def http_of(server: Serving) -> HTTPServer:
    assert server.app.http.server is not None
    return server.app.http.server


async def in_time(awaitable: Any, seconds: float = 5) -> Any:
    async with asyncio.timeout(seconds):
        return await awaitable


def reset(client: Client) -> None:
    """Close with a reset, as a client that crashed."""
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


class Counting:
    """Counts outcomes."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def route_added(self, route: Any) -> Counting:
        return self

    def event_done(self, seconds: float, outcome: str) -> None:
        self.outcomes.append(outcome)

    def http_events(self, samples: list[Any]) -> None:
        self.outcomes += ["ok"] * len(samples)

    def http_response(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        pass

    http_unrouted = http_response

    def not_found(self) -> None:
        pass

    def http_not_found(self, samples: list[Any]) -> None:
        pass


def waiting_application() -> tuple[HTTPListener, asyncio.Event]:
    """Return an application whose responses wait for the event."""
    app = HTTPListener()
    release = asyncio.Event()

    @app.get("/stream")
    async def stream_late() -> AsyncIterator[str]:
        await release.wait()

        async def pieces() -> AsyncIterator[str]:
            yield "data"

        return pieces()

    @app.get("/wait")
    async def wait() -> str:
        await release.wait()
        await asyncio.sleep(0)
        return "woken"

    @app.get("/")
    async def home() -> str:
        return "home"

    return app, release
