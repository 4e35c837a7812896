"""Workers that boot only when a gate is open, and one that can be stopped forever by a request."""

import os
import time
from pathlib import Path

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.startup
async def wait_at_the_gate() -> None:
    gate = Path(os.environ["GATE"])
    while not gate.exists():
        time.sleep(0.01)


@app.get("/")
async def who() -> str:
    return str(app.slot)


@app.get("/block")
async def block() -> None:
    print("blocked", flush=True)
    time.sleep(3600)
