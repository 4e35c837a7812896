"""Handles published events as their data says: ends at once, fails, sleeps, or ends its process."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from tiny_listener import Event, Retry
from tiny_listener.http import HTTPListener, Request

app = HTTPListener()
FILE = os.open(os.environ["FAULTY_FILE"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
GATE = Path(os.environ.get("FAULTY_GATE", "/no/such/file"))


@app.post("/publish/{key}/{n:int}")
async def publish(key: str, n: int, request: Request) -> str:
    published = await app.publish(f"work {key} {n}", await request.json(), key=key, timeout=5)
    return published.id


@app.on_event("work {key} {n:int}", retry=Retry(max_attempts=3, first=0.05))
async def work(key: str, n: int, event: Event) -> None:
    data: dict[str, Any] = event.data
    os.write(FILE, f"{key} {n} {event.attempt} {event.redelivered}\n".encode())
    if data.get("do") == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if data.get("do") == "fail":
        raise ValueError("as told")
    while data.get("do") == "wait" and not GATE.exists():
        await asyncio.sleep(0.01)
    os.write(FILE, f"{key} {n} done\n".encode())
