"""Its startup never ends."""

import asyncio

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.startup
async def start() -> None:
    await asyncio.Event().wait()
