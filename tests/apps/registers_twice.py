"""Registers two handlers of one name."""

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/a")
async def hello() -> None:
    """Come first."""


@app.get("/b")  # type: ignore[no-redef]
async def hello() -> None:  # noqa: F811
    """Come second."""
