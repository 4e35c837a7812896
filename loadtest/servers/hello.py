"""Ours: what the benchmarks and the load tests run.

tiny-listener --app-dir loadtest/servers hello:app
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from tiny_listener import Param
from tiny_listener.http import HTTPListener, Request

app = HTTPListener()


@app.get("/")
async def home() -> str:
    """Greet nobody in particular."""
    return "Welcome!"


@app.get("/user/{username}")
async def hello(username: Param) -> str:
    """Greet somebody."""
    return f"Hello, {username}!"


@app.post("/echo")
async def echo(request: Request) -> bytes:
    """Return what was sent."""
    return await request.body()


@app.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    """Take five seconds."""
    for _ in range(20):
        yield b"piece\n"
        await asyncio.sleep(0.25)


@app.get("/block")
async def block() -> None:
    """Never give the event loop back."""
    while True:
        time.sleep(3600)  # noqa: ASYNC251 - that is what it is for
