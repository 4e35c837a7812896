"""Registers what cannot be awaited."""

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/a")
def hello() -> None:
    """Do nothing."""
