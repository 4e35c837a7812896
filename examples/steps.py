"""Events that wait for each other: the steps of one job share a context.

Run it:  tiny-listener steps:app
"""

import os
import signal

from tiny_listener import Depends, Event, Listener


class App(Listener):
    async def listen(self) -> None:
        ctx = self.new_ctx("Bob's job")
        # Triggered in no particular order: each step waits for what it needs.
        last = ctx.trigger_event("step 3: tell Bob", timeout=5)
        ctx.trigger_event("step 2: add the numbers up", timeout=5)
        for number in (1, 2, 3):
            ctx.trigger_event(f"step 1: read number {number}")
        print(await last)
        ctx.drop()
        os.kill(os.getpid(), signal.SIGTERM)  # the job is done, and so is this program


app = App()


async def greeting(name: str) -> str:
    return f"Dear {name}"


@app.on_event("step 1: read number {number:int}")
async def read(number: int) -> int:
    return number * 10


@app.on_event("step 2: add the numbers up")
async def add(event: Event) -> int:
    return sum(await event.wait_event_done("read", n=3, timeout=5))


@app.on_event("step 3: tell {name}")
async def tell(event: Event, dear: str = Depends(greeting)) -> str:
    (total,) = await event.wait_event_done("add", timeout=5)
    return f"{dear}, the total is {total}."
