"""Streams that end when the drain begins, and would not otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/ticks")
async def ticks() -> AsyncIterator[str]:
    """The program of docs/use/events.md."""
    while not app.is_draining:
        yield "tick\n"
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await app.draining
    yield "the end\n"


@app.get("/waits")
async def waits() -> AsyncIterator[str]:
    yield "begun\n"
    await app.draining
    await app.draining
    yield "the end\n"


@app.get("/a-second")
async def a_second() -> AsyncIterator[str]:
    """End by itself, whether the worker drains or not."""
    for _ in range(20):
        yield "piece\n"
        await asyncio.sleep(0.05)
    yield "the end\n"


@app.get("/is-draining")
async def is_draining() -> str:
    return str(app.is_draining)
