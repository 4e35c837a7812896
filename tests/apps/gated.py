"""Its second worker boots only when somebody opens the gate."""

import os
from pathlib import Path

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.startup
async def wait_at_the_gate() -> None:
    if app.slot == 1:
        Path(os.environ["GATE"]).read_text()


@app.get("/")
async def home() -> str:
    return "in"
