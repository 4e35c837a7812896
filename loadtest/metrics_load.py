"""What measuring costs a server under load: requests per second with metrics, without, and while it is scraped.

All servers run the whole time, and wrk asks one after the other for a second: who is not asked takes nothing.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bench_http import SCENARIOS, measure
from environment import bench_python
from processes import cpu_seconds, free_port, pinned, running

__all__ = ["Load", "measure_load"]

SERVERS: Final = Path(__file__).parent / "servers"

WITHOUT: Final = "--no-metrics"
WITH: Final = "metrics"
SCRAPED: Final = "metrics, scraped ten times a second"
PAUSE: Final = 0.1
"""Seconds between two scrapes; Prometheus' own default is a minute, most use 15 s."""
SECONDS: Final = 1.0
"""Of each run of wrk: short, so that what else the machine does meets all alike."""


class Load(NamedTuple):
    """What was measured.

    :ivar rates: requests per second of each kind of server, medians
    :ivar loss: the share of requests that metrics cost, the median over the rounds
    :ivar scraped_loss: the additional share that scrapes cost, all processes on one core
    :ivar scrapes: that were answered
    :ivar scrape_ms: processor time of the whole server for a scrape without other requests
    """

    rates: dict[str, float]
    loss: float
    scraped_loss: float
    scrapes: int
    scrape_ms: float


class Scraper:
    """Fetches a page again and again, from a thread."""

    def __init__(self, admin: int) -> None:
        self._url = f"http://127.0.0.1:{admin}/metrics"
        self.scrapes = 0

    def scrape(self) -> None:
        """Fetch it once, as Prometheus does."""
        request = urllib.request.Request(self._url, headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
        self.scrapes += 1

    @contextlib.contextmanager
    def scraping(self) -> Iterator[None]:
        """Scrape while the block runs."""
        over = threading.Event()

        def again() -> None:
            while not over.wait(PAUSE):
                self.scrape()

        thread = threading.Thread(target=again)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def measure_load(rounds: int, workers: int = 2) -> Load:
    """Measure `rounds` times; each server, its supervisor and all, is pinned to one core, and wrk to the other."""
    python = bench_python()
    ports = {name: free_port() for name in (WITHOUT, WITH)}
    admin = free_port()
    rates: dict[str, list[float]] = {WITHOUT: [], WITH: [], SCRAPED: []}
    scraper = Scraper(admin)
    with contextlib.ExitStack() as stack:
        pids = {}
        for name, port in ports.items():
            command = [
                python, "-m", "tiny_listener", "--app-dir", str(SERVERS), "--port", str(port),
                "--workers", str(workers), "--admin-port", str(admin if name == WITH else 0), "--log-level", "error",
                *(["--no-metrics"] if name == WITHOUT else []), "many_routes:app",
            ]  # fmt: skip
            pids[name] = stack.enter_context(running(pinned(command, 0), port)).pid
        for port in ports.values():
            measure(SCENARIOS["hello"], port, SECONDS, floor=False)  # warm-up
        for number in range(rounds):
            for name in list(rates) if number % 2 else reversed(rates):
                meanwhile: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
                if name == SCRAPED:
                    meanwhile = scraper.scraping()
                with meanwhile:
                    port = ports[WITHOUT if name == WITHOUT else WITH]
                    rates[name].append(measure(SCENARIOS["hello"], port, SECONDS, floor=False)[0])
        before = cpu_seconds(pids[WITH])
        for _ in range(100):
            scraper.scrape()
        scrape_ms = (cpu_seconds(pids[WITH]) - before) * 1000 / 100
    return Load(
        {name: statistics.median(each) for name, each in rates.items()},
        1 - _ratio(rates[WITH], rates[WITHOUT]),
        1 - _ratio(rates[SCRAPED], rates[WITH]),
        scraper.scrapes,
        scrape_ms,
    )


def _ratio(some: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(some, others, strict=True))
