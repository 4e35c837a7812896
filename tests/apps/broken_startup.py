"""Fails in a startup callback."""

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.startup
async def start() -> None:
    raise RuntimeError("broken at startup")
