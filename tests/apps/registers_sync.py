"""Registers what cannot be awaited."""

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/a")  # type: ignore[type-var]
def hello() -> None:
    """Do nothing."""
