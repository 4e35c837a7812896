"""Ours with what an application may have around each event: two hooks and a dependency.

tiny-listener --app-dir loadtest/servers hooked:app
"""

from __future__ import annotations

from tiny_listener import Depends, Event, Param
from tiny_listener.http import HTTPListener

app = HTTPListener()


async def greeting() -> str:
    """What to say."""
    return "Hello"


@app.before_event
async def before() -> None:
    """Run before each event."""


@app.after_event
async def after(event: Event) -> None:
    """Run after each event, and look at it."""
    assert event.error is None


@app.get("/user/{username}")
async def hello(username: Param, word: str = Depends(greeting)) -> str:
    """Greet somebody."""
    return f"{word}, {username}!"
