"""prometheus_client's multi-process mode, to compare with: what its files cost as processes come and go.

Each process writes the series of one of our workers into files of its own, which stay when it has ended.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from arguments import Arguments, Number
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from tiny_listener_metrics.series import DISPATCH, EVENTS, HTTP_DURATION, OUTCOMES

__all__ = ["Files", "measure_files"]


class Files(NamedTuple):
    """What was measured after a number of processes.

    :ivar scrape_ms: milliseconds that it takes to read and write the page, the fastest of a few
    :ivar mib: on disk
    """

    processes: int
    scrape_ms: float
    files: int
    mib: float


def be_a_worker(routes: int) -> None:
    """Count two events for each route, as bench_metrics.start_worker does."""
    registry = CollectorRegistry()
    dispatch = Histogram(
        DISPATCH.name, DISPATCH.documentation, DISPATCH.labels, buckets=DISPATCH.bounds, registry=registry
    )
    events = Counter(EVENTS.name, EVENTS.documentation, EVENTS.labels, registry=registry)
    http = Histogram(
        HTTP_DURATION.name,
        HTTP_DURATION.documentation,
        HTTP_DURATION.labels,
        buckets=HTTP_DURATION.bounds,
        registry=registry,
    )
    for number in range(routes):
        path = f"/api/v1/resource{number}/{{id}}"
        for outcome in OUTCOMES:
            events.labels(f"GET:{path}", outcome)
        for status in ("200", "404"):
            seconds = random.expovariate(1000)
            dispatch.labels(f"GET:{path}").observe(seconds)
            events.labels(f"GET:{path}", "ok").inc()
            http.labels("GET", path, status).observe(seconds)


def scrape_ms(folder: str, rounds: int = 3) -> float:
    """Return how long the page takes."""
    times = []
    for _ in range(rounds):
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
        start = time.perf_counter()
        generate_latest(registry)
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


def measure_files(workers: int, restarts: int, routes: int) -> list[Files]:
    """Measure with a number of workers, and again after further restarts."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        started = 0
        for wanted in (workers, workers + restarts):
            while started < wanted:
                subprocess.run(
                    [sys.executable, __file__, str(routes)],
                    env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder},
                    check=True,
                )
                started += 1
            files = list(Path(folder).iterdir())
            size = sum(file.stat().st_blocks * 512 for file in files)
            found.append(Files(wanted, scrape_ms(folder), len(files), size / 2**20))
    return found


if __name__ == "__main__":
    arguments = Arguments(__doc__)
    arguments.add_argument("routes", type=Number(0, 10**6))
    be_a_worker(arguments.parse_args().routes)
