"""A handler that never ends by itself."""

import asyncio

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/")
async def wait() -> None:
    print("in flight", flush=True)
    await asyncio.Event().wait()
