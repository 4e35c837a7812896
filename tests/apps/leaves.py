"""Whose workers may leave while they have requests in flight."""

import asyncio

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/")
async def who() -> str:
    return str(app.slot)


@app.get("/wait")
async def wait() -> str:
    await asyncio.Event().wait()
    return "waited"


@app.get("/leave")
async def leave() -> str:
    app.leaving = asyncio.ensure_future(app.graceful_shutdown())  # type: ignore[attr-defined]
    return "I leave"
