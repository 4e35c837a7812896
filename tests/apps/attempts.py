"""Handles the events of one key, some of which fail, or kill the worker or the supervisor; it notes each attempt."""

import os
import signal
from pathlib import Path

from tiny_listener import Event
from tiny_listener.events.policy import Reject, Retry
from tiny_listener.http import HTTPListener

app = HTTPListener()
FOLDER = Path(os.environ.get("ATTEMPTS_FOLDER", "/nowhere"))
KILLS = {"kill-worker": os.getpid, "kill-supervisor": os.getppid}


def note(text: str) -> None:
    with (FOLDER / "noted").open("a") as file:
        file.write(f"{text}\n")


@app.on_event("do {what} {n:int}", retry=Retry(max_attempts=2, first=0.05, most=0.05))
async def do(what: str, n: int, event: Event) -> None:
    victim = KILLS.get(what)
    if victim is not None and not event.redelivered:
        note("crashed")
        os.kill(victim(), signal.SIGKILL)
        signal.pause()
    if what == "fail" or (what == "fail-once" and event.attempt == 1):
        note("error")
        raise ValueError(what)
    if what == "reject":
        note("rejected")
        raise Reject("unwanted")
    note("ok")


@app.post("/publish/{what}/{n:int}")
async def publish(what: str, n: int) -> bool:
    return (await app.publish(f"do {what} {n}", key="one", id=f"{what} {n}")).duplicate
