"""What metrics cost: nanoseconds for an observation, requests per second, milliseconds for a scrape, memory.

    python loadtest/bench_metrics.py [--rounds 30]

prints tables in Markdown and exits with 1 if a target is missed. Everything that is compared is measured in
this run, in turns; ratios are those of the medians, and medians are held against the targets. The targets of
observations are for a handler that waits for nothing, where they are noticed; one that has waited pays for a bisection
more, and has a line of its own.

prometheus_client's multi-process mode is chosen when it is imported, so it runs in a child process, and
measures when it is told to.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from arguments import REPEATS, Arguments
from metrics_files import Files, measure_files
from metrics_load import Load, measure_load
from metrics_pauses import SAMPLES, measure_pauses, print_pauses
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import values as prometheus_values
from prometheus_client.exposition import generate_latest
from tiny_listener_metrics import ApplicationMetrics, Exposition, Ledger, LedgerCollector, Recorder, RouteRecorder, Row
from tiny_listener_metrics.series import HTTP_DURATION
from tiny_listener_metrics.values import ValueStore, value_class

if TYPE_CHECKING:
    from tiny_listener.core.registration import Route

MAX_EVENT_NS: Final = 300
MAX_RESPONSE_NS: Final = 350  # it has a method and a status to look up
MAX_SCRAPE_MS: Final = 25
MAX_LOSS: Final = 0.03
MAX_PAUSE_MS: Final = 50  # of the event loop of the supervisor, for anything
"""The share of requests per second that metrics may cost."""
FILES_RESTARTS: Final = 50
"""Restarts after which prometheus_client's files are looked at: ten times as many take minutes."""

WORKERS: Final = 8
ROUTES: Final = 300
RESTARTS: Final = 500
ROUNDS: Final = 40
CALLS: Final = 5_000
SCRAPES: Final = 25

FAST: Final = [0.00003] * 1000
"""Seconds: a handler that waits for nothing."""
SPREAD: Final = [10 ** (random.uniform(-4.5, 1)) for _ in range(1000)]
"""Seconds, over all buckets."""

EVENT_FAST: Final = "ours: event_done"
RESPONSE_FAST: Final = "ours: http_response"
RESPONSE_SPREAD: Final = "ours: http_response after waiting, all buckets"

Observe = Callable[[float], object]


def nanoseconds(observe: Observe, durations: list[float]) -> float:
    """For one call, the loop around it included."""
    repeat = range(CALLS // len(durations))
    start = time.perf_counter_ns()
    for _ in repeat:
        for seconds in durations:
            observe(seconds)
    return (time.perf_counter_ns() - start) / CALLS


# -------------------------------------------------------------------------------------- prometheus_client


def prometheus_observers() -> dict[str, Observe]:
    """What `http_response` does, done by prometheus_client: a histogram with three labels."""
    histogram = Histogram(
        HTTP_DURATION.name,
        HTTP_DURATION.documentation,
        HTTP_DURATION.labels,
        buckets=HTTP_DURATION.bounds,
        registry=CollectorRegistry(),
    )
    child = histogram.labels("GET", "/user/{username}", "200")

    def labelled(seconds: float) -> None:
        histogram.labels("GET", "/user/{username}", "200").observe(seconds)

    return {"labels().observe()": labelled, "observe() of a child kept": child.observe}


def serve_measurements() -> None:
    """The child process: for each line it reads, it measures once and prints a line of numbers."""
    observers = prometheus_observers()
    for _ in sys.stdin:
        print(*(nanoseconds(observe, SPREAD) for observe in observers.values()), flush=True)


class MultiprocessMode:
    """A child process in which prometheus_client is in multi-process mode."""

    def __init__(self, directory: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child"],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": directory},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self) -> list[float]:
        """One number for each of `prometheus_observers`."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("\n")
        stdin.flush()
        return [float(word) for word in stdout.readline().split()]

    def close(self) -> None:
        """End the child."""
        self._process.communicate()


# --------------------------------------------------------------------------------------------- observing


class Measured(NamedTuple):
    """A line of the first table."""

    what: str
    median: float
    fastest: float


def measure_observations() -> list[Measured]:
    """Nanoseconds, in the order of the table."""
    ledger = Ledger()
    observer = Recorder(ledger.open_row().writer()).route_added(route(0))

    def nothing(seconds: float) -> None:
        pass

    def event(seconds: float) -> None:
        observer.event_done(seconds, "ok")

    def response(seconds: float) -> None:
        observer.http_response("GET", 200, seconds)

    # Of these two, the call of the function around the observation is subtracted.
    wrapped: dict[str, tuple[Observe, list[float]]] = {
        EVENT_FAST: (event, FAST),
        "ours: event_done after waiting, all buckets": (event, SPREAD),
        RESPONSE_FAST: (response, FAST),
        RESPONSE_SPREAD: (response, SPREAD),
    }
    plain: dict[str, tuple[Observe, list[float]]] = {
        f"prometheus_client: {name}": (one, SPREAD) for name, one in prometheus_observers().items()
    }
    before = prometheus_values.ValueClass
    prometheus_values.ValueClass = value_class(ValueStore(ApplicationMetrics().open_row("0").memory))
    plain |= {f"an application's own, with ours: {name}": (one, SPREAD) for name, one in prometheus_observers().items()}
    prometheus_values.ValueClass = before
    multiprocess = [f"prometheus_client, multi-process: {name}" for name in prometheus_observers()]

    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        child = MultiprocessMode(directory)
        for _ in range(ROUNDS):
            empty = nanoseconds(nothing, SPREAD)
            for name, (observe, durations) in wrapped.items():
                times.setdefault(name, []).append(nanoseconds(observe, durations) - empty)
            for name, (observe, durations) in plain.items():
                times.setdefault(name, []).append(nanoseconds(observe, durations))
            for name, ns in zip(multiprocess, child.measure(), strict=True):
                times.setdefault(name, []).append(ns)
            times.setdefault("(an empty function)", []).append(empty)
        child.close()
    return [Measured(name, statistics.median(each), min(each)) for name, each in times.items()]


# ---------------------------------------------------------------------------------------------- scraping


def route(number: int) -> Route:
    """All that a recorder needs of a route."""
    return cast("Route", SimpleNamespace(path=f"GET:/api/v1/resource{number}/{{id}}"))


def start_worker(ledger: Ledger) -> tuple[Row, list[RouteRecorder]]:
    """A worker with all routes, each of which has answered with two statuses, in an order of its own."""
    row = ledger.open_row()
    recorder = Recorder(row.writer())
    routes = [recorder.route_added(route(number)) for number in range(ROUTES)]
    random.shuffle(routes)
    count_a_little(routes)
    return row, routes


def count_a_little(routes: Iterable[RouteRecorder]) -> None:
    """Two events for each route."""
    for observer in routes:
        for status in (200, 404):
            seconds = random.expovariate(1000)
            observer.event_done(seconds, "ok")
            observer.http_response("GET", status, seconds)


def milliseconds(
    what: str, work: Callable[[], object], between: Callable[[], object], rounds: int = SCRAPES
) -> Measured:
    """Several runs of `work`, with `between` before each."""
    times = []
    for _ in range(rounds):
        between()
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return Measured(what, statistics.median(times), min(times))


def resident_bytes() -> int:
    """Of this process (Linux)."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def print_table(what: str, unit: str, lines: list[Measured], reference: Measured) -> None:
    """A table in Markdown, with each median as a multiple of that of `reference`."""
    print(f"| {what} | {unit}, median | fastest | times ours |")
    print("|---|---:|---:|---:|")
    digits = 1 if unit == "ms" else 0
    for line in lines:
        ratio = line.median / reference.median
        print(f"| {line.what} | {line.median:.{digits}f} | {line.fastest:.{digits}f} | {ratio:.1f} |")
    print(flush=True)


def measure_scrapes() -> tuple[list[Measured], int]:
    """Milliseconds, in the order of the table, and the bytes that restarts have cost."""
    ledger = Ledger()
    exposition = Exposition(ledger, version="0")
    workers = [start_worker(ledger) for _ in range(WORKERS)]
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger))

    def everybody_counts() -> None:
        for _, routes in workers:
            count_a_little(routes)

    def restart(times: int) -> None:
        for _ in range(times):
            row, _ = start_worker(ledger)
            ledger.close_row(row)

    first = milliseconds("the first one", exposition.render, everybody_counts, 1)
    page = exposition.render()[0]
    size = f"{WORKERS} rows, {ROUTES} routes, {len(ledger.totals())} series, {page.count(bytes([10]))} lines"
    lines = [
        milliseconds(f"render: {size}", exposition.render, everybody_counts),
        milliseconds("of it: reading the rows", ledger.totals, everybody_counts),
        first,
        milliseconds("prometheus_client unaided", lambda: generate_latest(registry), everybody_counts, 3),
    ]
    restart(20)  # what grows once has grown
    before = resident_bytes()
    restart(RESTARTS)
    growth = resident_bytes() - before
    later = milliseconds(f"render after {RESTARTS} restarts", exposition.render, everybody_counts)
    return [lines[0], later, *lines[1:]], growth


class Verdict(NamedTuple):
    """A figure and the most that it may be."""

    what: str
    figure: float
    target: float
    unit: str

    @property
    def is_met(self) -> bool:
        """Whether the target is met."""
        return self.figure <= self.target


def print_load(load: Load) -> None:
    """What metrics and scrapes cost in requests per second."""
    print("| one core for the server, 2 workers, 300 routes more | requests/s, median |")
    print("|---|---:|")
    for name, rate in load.rates.items():
        print(f"| {name} | {rate:,.0f} |")
    print(f"\nMetrics cost {load.loss:.1%}, scrapes on the same core {load.scraped_loss:.1%} more, the medians of")
    print(f"the rounds' ratios; a scrape takes {load.scrape_ms:.1f} ms of the supervisor's processor.\n", flush=True)


def print_files(ours: list[Measured], files: list[Files]) -> None:
    """A scrape next to prometheus_client's."""
    print(f"| {WORKERS} workers, {ROUTES} routes | processes so far | scrape, ms, fastest | files | MiB on disk |")
    print("|---|---:|---:|---:|---:|")
    for line, processes in zip(ours, (WORKERS, WORKERS + RESTARTS), strict=True):
        print(f"| ours | {processes} | {line.fastest:.1f} | 0 | 0 |")
    for one in files:
        cells = f"{one.processes} | {one.scrape_ms:.1f} | {one.files} | {one.mib:.0f}"
        print(f"| prometheus_client, multi-process | {cells} |")
    print(flush=True)


def print_verdicts(verdicts: list[Verdict]) -> None:
    """A table of what was aimed at."""
    print("| target | figure | at most | |")
    print("|---|---:|---:|---|")
    for one in verdicts:
        word = "met" if one.is_met else "MISSED"
        print(f"| {one.what} | {one.figure:.1f} {one.unit} | {one.target:g} {one.unit} | {word} |")


def main() -> int:
    """Measure, print, judge."""
    parser = Arguments(__doc__)
    parser.add_argument("--rounds", type=REPEATS, default=30, help="of the runs of wrk")
    parser.add_argument("--pauses", action="store_true", help="only how long large pages block the event loop")
    options = parser.parse_args()
    pauses = measure_pauses()
    print_pauses(pauses)
    still = Verdict(f"a pause for {SAMPLES:,} samples", max(one.longest_ms for one in pauses), MAX_PAUSE_MS, "ms")
    if options.pauses:
        print_verdicts([still])
        return int(not still.is_met)
    observations = {one.what: one for one in measure_observations()}
    print_table("observation", "ns", list(observations.values()), observations[RESPONSE_SPREAD])
    scrapes, growth = measure_scrapes()
    print_table("scrape", "ms", scrapes, scrapes[0])
    print(f"Memory gained over {RESTARTS} restarts: {growth / 1024:.0f} KiB.\n")
    print_files(scrapes[:2], measure_files(WORKERS, FILES_RESTARTS, ROUTES))
    load = measure_load(options.rounds)
    print_load(load)
    verdicts = [
        Verdict("an event is counted", observations[EVENT_FAST].median, MAX_EVENT_NS, "ns"),
        Verdict("a response is counted", observations[RESPONSE_FAST].median, MAX_RESPONSE_NS, "ns"),
        Verdict("requests/s that metrics cost", 100 * load.loss, 100 * MAX_LOSS, "%"),
        Verdict(f"a scrape, {WORKERS} workers and {ROUTES} routes", scrapes[0].median, MAX_SCRAPE_MS, "ms"),
        Verdict(f"the same after {RESTARTS} restarts", scrapes[1].median, MAX_SCRAPE_MS, "ms"),
        still,
    ]
    print_verdicts(verdicts)
    return int(not all(one.is_met for one in verdicts))


if __name__ == "__main__":
    if "--child" in sys.argv:
        serve_measurements()
    else:
        sys.exit(main())
