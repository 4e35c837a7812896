"""A real server in the test's own loop, and a client that speaks bytes."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tests.server import APPS
from tiny_listener.http import HTTPListener


def load_app() -> ModuleType:
    """Return a fresh copy of the test application's module."""
    spec = importlib.util.spec_from_file_location("web_under_test", APPS / "web.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


@dataclass
class Response:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self, *, head_only: bool = False) -> Response:
        """Read one response; `head_only` for one to HEAD."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(status_line.split()[1])
        body = b""
        if head_only or status in (204, 304) or status < 200:
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                assert await self.reader.readexactly(2) == b"\r\n"
            assert await self.reader.readexactly(2) == b"\r\n"
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return Response(status, headers, body)

    async def ask(self, data: bytes, *, head_only: bool = False) -> Response:
        """Send bytes and read one response."""
        await self.send(data)
        return await self.receive(head_only=head_only)

    async def is_closed(self) -> bool:
        """Whether the server closes the connection, without another byte."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 10) == b""
        except ConnectionError:
            return True


class Serving:
    """A listener that serves."""

    def __init__(self, app: HTTPListener, port: int) -> None:
        self.app = app
        self.port = port
        self._clients: list[Client] = []

    async def connect(self, tls: ssl.SSLContext | None = None) -> Client:
        """Open a connection."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))
        self._clients.append(client)
        return client

    async def ask(self, data: bytes, *, head_only: bool = False) -> Response:
        """Send bytes on a connection of their own and read one response."""
        return await (await self.connect()).ask(data, head_only=head_only)

    async def get(self, target: str) -> Response:
        """Ask for a target."""
        return await self.ask(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    async def close(self) -> None:
        """Close all connections and the server."""
        for client in self._clients:
            client.writer.close()
        self.app.close()
        while self.app.http.server is not None and (self.app.http.server.connections or self.app.http.server.lingering):
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(app: HTTPListener | None = None, **settings: Any) -> AsyncIterator[Serving]:
    """Serve the test application, or `app`, while the block runs."""
    app = load_app().app if app is None else app
    app.configure(port=0, **settings)
    await app.listen()
    listening: Any = app.http.listening
    port = listening.sockets[0].getsockname()[1]
    server = Serving(app, port)
    try:
        yield server
    finally:
        await server.close()


async def turns(count: int) -> None:
    """Let the event loop do `count` iterations."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; other callbacks run meanwhile."""
    while not condition():
        await asyncio.sleep(0)
