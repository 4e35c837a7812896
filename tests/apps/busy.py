"""The application that most tests run, and published events, of which some fail."""

from importlib import import_module

from tiny_listener import Reject
from tiny_listener.http import HTTPListener

app: HTTPListener = import_module("web").app


@app.on_event("note {what}")
async def note(what: str) -> None:
    if what == "nothing":
        raise Reject("there is nothing to note")


@app.post("/note/{what}")
async def publish(what: str) -> str:
    return (await app.publish(f"note {what}", key=what)).id
