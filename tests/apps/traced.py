"""Events whose spans are exported."""

import os

from tiny_listener import Param
from tiny_listener.http import HTTPListener
from tiny_listener.otel import instrument

app = HTTPListener()
instrument(app)


@app.get("/user/{username}")
async def hello(username: Param) -> str:
    await app.trigger_event(f"greet {username}")
    return f"{username} {os.getpid()}"


@app.on_event("greet {name}")
async def greet(name: Param) -> None: ...
