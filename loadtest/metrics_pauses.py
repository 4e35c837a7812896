"""How long the event loop is blocked while a large page of metrics is made; for `bench_metrics.py`."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Final, NamedTuple

from tiny_listener_metrics import ApplicationMetrics, Exposition, Ledger
from tiny_listener_metrics.values import ValueKey, ValueStore
from tiny_listener_supervisor.admin.scrapes import Scrapes

from tiny_listener.net.loop import new_event_loop

__all__ = ["Pause", "measure_pauses", "print_pauses"]

WORKERS: Final = 4
SAMPLES: Final = 100_000
ACCEPTS: Final = (
    ("text, the first page", None, False),
    ("text", None, False),
    ("OpenMetrics, gzip", "application/openmetrics-text", True),
)


class Pause(NamedTuple):
    """What one page did to the event loop."""

    what: str
    longest_ms: float
    seconds: float
    mib: float


class Heartbeat:
    """Looks in each iteration of the event loop how long the last one took."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.longest = 0.0
        self._loop = loop
        self._last = time.perf_counter()
        self._handle = loop.call_soon(self._beat)

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, now - self._last), now
        self._handle = self._loop.call_soon(self._beat)

    def stop(self) -> None:
        """End it."""
        self._handle.cancel()


def _large(application: ApplicationMetrics) -> None:
    """Let each of the workers have all label sets, and so as many values as there are samples."""
    for worker in range(WORKERS):
        store = ValueStore(application.open_row(str(worker)).memory)
        for number in range(SAMPLES):
            labels = (("customer", str(number)),)
            at = store.add(ValueKey("counter", "", "orders", "orders_total", labels, "Orders by customer."))
            if at is not None:
                store.words[at] = number


async def _measure(scrapes: Scrapes) -> list[Pause]:
    found = []
    for what, accept, gzip in ACCEPTS:
        heartbeat, started = Heartbeat(asyncio.get_running_loop()), time.perf_counter()
        body, _ = await scrapes.page(accept, gzip=gzip)
        heartbeat.stop()
        found.append(Pause(what, 1000 * heartbeat.longest, time.perf_counter() - started, len(body) / 2**20))
    return found


def measure_pauses() -> list[Pause]:
    """Measure."""
    application = ApplicationMetrics()
    exposition = Exposition(Ledger(), version="0")
    exposition.show_application(application)
    _large(application)
    gc.collect()
    gc.freeze()  # like the supervisor: exclude objects made at startup from garbage collection
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_measure(Scrapes(exposition)))


def print_pauses(pauses: list[Pause]) -> None:
    """A table in Markdown."""
    print(f"| a page of {SAMPLES:,} samples, {WORKERS} workers | longest pause, ms | s in all | MiB |")
    print("|---|---:|---:|---:|")
    for one in pauses:
        print(f"| {one.what} | {one.longest_ms:.1f} | {one.seconds:.2f} | {one.mib:.1f} |")
    print(flush=True)
