"""What it costs to hand an event to its handler: `python loadtest/bench_dispatch.py`.

Prints a Markdown table: nanoseconds per event for `trigger_event` and for `dispatch_now`, next to a bare
`create_task` of the same handler in the same run, and the ratio of each. One handler returns at once, the other
awaits once. The ways take turns, in bursts from a callback of the loop, as a transport would call them; the
medians of all rounds are shown. The collector runs as in a server.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import uvloop
from arguments import REPEATS, Arguments

from tiny_listener import Event, Listener

BURST = 100
"""Events in an iteration of the loop."""
BURSTS = 100
"""In a round."""


async def returns(event: Event | None = None) -> str:
    """Do as little as a handler can."""
    return "done"


async def awaits(event: Event | None = None) -> str:
    """Suspend once."""
    await asyncio.sleep(0)
    return "done"


HANDLERS = (returns, awaits)


def application() -> Listener:
    """Return a listener with both handlers."""
    app = Listener()
    for handler in HANDLERS:
        app.on_event(f"{handler.__name__} {{number:int}}")(handler)
    return app


def ways(app: Listener, handler: Callable[..., Any]) -> dict[str, Callable[[], object]]:
    """Return what begins one event, by name."""
    loop = asyncio.get_running_loop()
    text = f"{handler.__name__} 17"
    tasks: set[asyncio.Task[Any]] = set()

    def task() -> None:
        made = loop.create_task(handler())
        tasks.add(made)  # the loop keeps only weak references to tasks
        made.add_done_callback(tasks.discard)

    return {
        "create_task": task,
        "trigger_event": lambda: app.trigger_event(text),
        "dispatch_now": lambda: app.dispatch_now(text),
    }


async def round_of(begin: Callable[[], object]) -> float:
    """Begin events in bursts, and wait until they have ended; return the nanoseconds that each took."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    left = BURSTS

    def burst() -> None:
        nonlocal left
        if not left:
            ended.set_result(None)
            return
        left -= 1
        for _ in range(BURST):
            begin()
        loop.call_soon(between)

    def between() -> None:  # what the burst began goes on in this iteration
        loop.call_soon(burst)

    started = time.perf_counter_ns()
    loop.call_soon(burst)
    await ended
    return (time.perf_counter_ns() - started) / (BURST * BURSTS)


async def measure(app: Listener, rounds: int) -> None:
    """Print the table."""
    print("| handler | way | ns an event | of create_task |")
    print("|---|---|---:|---:|")
    for handler in HANDLERS:
        begins = ways(app, handler)
        samples: dict[str, list[float]] = {name: [] for name in begins}
        for number in range(rounds + 1):
            for name, begin in begins.items():
                cost = await round_of(begin)
                if number:  # the first round warms up
                    samples[name].append(cost)
        bare = statistics.median(samples["create_task"])
        for name, sample in samples.items():
            cost = statistics.median(sample)
            print(f"| {handler.__name__} | {name} | {cost:,.0f} | {cost / bare:.2f} |")


def main() -> None:
    """Print the table."""
    parser = Arguments(__doc__)
    parser.add_argument("--rounds", type=REPEATS, default=15, help="rounds of each way (15)")
    rounds = parser.parse_args().rounds
    app = application()

    async def listen() -> None:
        await measure(app, rounds)
        await app.graceful_shutdown()

    uvloop.run(app.live(listen))


if __name__ == "__main__":
    main()
