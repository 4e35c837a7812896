"""Does things every so often: each tick is an event.

Run it:  tiny-listener --workers 2 timer:app

    every 1 s      says how often it has done so
    every 5 s      takes longer than it should, and is stopped after two seconds

Only the worker of slot 0 has a clock, or else each worker would tick; when it is replaced, its successor goes on.
"""

import asyncio
import itertools
from typing import Any

from tiny_listener import Listener, Source

EVERY = (1, 5)
"""Seconds."""


class Clock(Source):
    name = "clock"

    async def open(self, listener: Listener[Any]) -> None:
        self.listener = listener

    async def run(self) -> None:
        if self.listener.slot == 0:
            await asyncio.gather(*map(self.tick, EVERY))

    async def tick(self, seconds: int) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self.listener.is_draining:
            self.listener.trigger_event(f"every {seconds} s", timeout=2)
            due += seconds  # of the clock, not of the handler
            await asyncio.sleep(due - loop.time())


app = Listener()
app.add_source(Clock())
numbers = itertools.count(1)


@app.on_event("every 5 s")
async def slow() -> None:
    await asyncio.sleep(10)


@app.on_event("every {seconds:int} s")
async def quick(seconds: int) -> None:
    print(f"every {seconds} s: {next(numbers)} times", flush=True)
