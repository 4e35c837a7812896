"""Does things every so often: each tick is an event.

Run it:  tiny-listener --workers 2 timer:app

    every 1 s      says how often it has done so
    every 5 s      takes longer than it should, and is stopped after two seconds

Only the worker of slot 0 has a clock, or else each worker would tick; when it is replaced, its successor goes on.
"""

import asyncio

from tiny_listener import Listener, Param

EVERY = (1, 5)
"""Seconds."""


class Clock(Listener):
    done = 0

    async def listen(self) -> None:
        if self.slot == 0:
            self.ticking = [asyncio.create_task(self.tick(seconds)) for seconds in EVERY]

    async def tick(self, seconds: int) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self.is_draining:
            self.trigger_event(f"every {seconds} s", timeout=2)
            due += seconds  # of the clock, not of the handler
            await asyncio.sleep(due - loop.time())


app = Clock()


@app.on_event("every 5 s")
async def slow() -> None:
    await asyncio.sleep(10)


@app.on_event("every {seconds:int} s")
async def quick(seconds: Param) -> None:
    app.done += 1
    print(f"every {seconds} s: {app.done} times", flush=True)
