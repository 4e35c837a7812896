"""Handles published events, and writes what it does to the file LEDGER: the application of events_chaos.py."""

import asyncio
import os
import random
from typing import Annotated

from tiny_listener import Event, Publication, Retry
from tiny_listener.http import Body, HTTPListener

app = HTTPListener()
LEDGER = os.open(os.environ["LEDGER"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
FAILURES = float(os.environ.get("LEDGER_FAILURES", "0"))
SECONDS = float(os.environ.get("LEDGER_SECONDS", "0"))


def note(kind: str, key: str, number: int) -> None:
    """Append a line, in one write (open(2), O_APPEND)."""
    os.write(LEDGER, f"{os.getpid()} {kind} {key} {number}\n".encode())


@app.post("/publish")
async def publish(entries: Annotated[list[tuple[str, int]], Body]) -> int:
    """Publish one event of each of some keys. The same entries may come again: their ids are the same."""
    events = [Publication(f"entry {key} {number}", key=key, id=f"{key}-{number}") for key, number in entries]
    return len(await app.publish_many(events))


@app.on_event("entry {key} {number:int}", retry=Retry(max_attempts=1000, first=0.05, factor=1))
async def entry(key: str, number: int, event: Event) -> None:
    """Do a little, sometimes slowly, and sometimes fail. One that is stopped has failed too: it comes again."""
    note("start", key, number)
    if SECONDS and random.random() < 0.5:
        try:
            await asyncio.sleep(random.random() * 2 * SECONDS)
        except asyncio.CancelledError:
            note("fail", key, number)
            raise
    if FAILURES and event.attempt == 1 and random.random() < FAILURES:
        note("fail", key, number)
        raise ValueError("a failure by chance")
    note("end", key, number)
