"""Publishes events in bursts, and handles them: the application of bench_events.py."""

import asyncio
import os
import time
from array import array

from tiny_listener import Event, Publication
from tiny_listener.http import HTTPListener

app = HTTPListener()
DATA = {"text": "x" * 180}
delays = array("d")
"""Seconds from publishing to start, of each event that this worker has handled."""


@app.post("/burst/{first:int}/{count:int}/{batch:int}")
async def burst(first: int, count: int, batch: int, keys: int, hot: int = 0) -> float:
    """Publish some events, so many at a time; return the processor time that it took here.

    :param hot: of each hundred, how many have the same key
    """
    for start in range(first, first + count, batch):
        await app.publish_many(
            [
                Publication("nothing" if n % 100 >= hot else "hot", DATA, "hot" if n % 100 < hot else n % keys)
                for n in range(start, min(start + batch, first + count))
            ]
        )
    return time.process_time()


@app.post("/later/{count:int}")
async def later(count: int) -> None:
    """Publish events that nobody handles today."""
    for start in range(0, count, 1000):
        await app.publish_many(
            [Publication("nothing", DATA, n % 1000, delay=86400) for n in range(start, start + 1000)]
        )


@app.on_event("nothing")
async def nothing(event: Event) -> None:
    """Handle an event at once."""
    delays.append(time.time() - (event.published_at or 0))


@app.on_event("hot")
async def hot() -> None:
    """Handle an event in 20 ms."""
    await asyncio.sleep(0.02)


@app.shutdown
async def write_delays() -> None:
    """Leave the delays for the benchmark."""
    if (folder := os.environ.get("DELAYS")) is not None:
        with open(f"{folder}/{os.getpid()}", "wb") as file:  # noqa: ASYNC230, PTH123
            delays.tofile(file)
