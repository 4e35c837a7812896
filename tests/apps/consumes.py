"""A listener that consumes forever and opens no server."""

import asyncio

from tiny_listener import Listener


class App(Listener):
    async def listen(self) -> None:
        await asyncio.Event().wait()


app = App()


@app.shutdown
async def stop() -> None:
    print("drained", flush=True)
