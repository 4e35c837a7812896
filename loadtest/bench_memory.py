"""Memory over 1,000,000 events through `trigger_event`.

    python loadtest/bench_memory.py [EVENTS]

Prints the resident set (VmRSS of proc_pid_status(5)) as it goes; exit code 1 when it grows by more than 1 MiB
after the first tenth, in which caches and the allocator's arenas fill.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from arguments import Arguments, Number

from tiny_listener import Event, Listener

BATCH = 1_000
MAY_GROW_KIB = 1024

app = Listener()


@app.before_event
async def before(event: Event) -> None:
    """Touch the context, as hooks do."""
    event.ctx.scope["seen"] = True


@app.on_event("GET:/user/{username}")
async def hello(event: Event) -> str:
    """Greet."""
    return f"Hello, {event.params['username']}!"


def resident_kib() -> int:
    """Return this process's resident set in KiB."""
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmRSS"))
    return int(line.split()[1])


async def measure(events: int) -> int:
    """Trigger the events, and look at the memory ten times."""
    sizes: list[int] = []
    for tenth in range(1, 11):
        for start in range(0, events // 10, BATCH):
            await asyncio.gather(*[app.trigger_event(f"GET:/user/{start + i}") for i in range(BATCH)])
        sizes.append(resident_kib())
        print(f"{events * tenth // 10:>12,} events  {sizes[-1]:>8,} KiB  {len(app.ctxs)} contexts alive")
    growth = sizes[-1] - sizes[0]
    print(f"growth after the first tenth: {growth:,} KiB (may be {MAY_GROW_KIB:,})")
    return 0 if growth <= MAY_GROW_KIB else 1


def main() -> int:
    """Read the argument, and measure."""
    parser = Arguments(__doc__)
    parser.add_argument("events", nargs="?", type=Number(10 * BATCH, 10**12), default=1_000_000)
    return asyncio.run(measure(parser.parse_args().events))


if __name__ == "__main__":
    sys.exit(main())
