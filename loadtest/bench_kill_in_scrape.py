"""How long new connections wait when a worker is killed while a large page of metrics is scraped.

    python loadtest/bench_kill_in_scrape.py [--workers 16] [--labels 10000] [--kills 10] [--clients 4]

Each worker has all label sets of the application's own metrics. Clients open a new connection for each request
throughout. A worker is killed, first without scrapes, and then while one scrape follows another. Prints, for both, how
long requests took that began within a second after a kill, and the greatest lag of the supervisor's loop that the
scrapes told of; exit code 1 when a request that the killed worker did not have in flight took longer than 0.1 s beyond
the slowest in peace, or was lost.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field

from arguments import MAX_CLIENTS, REPEATS, WORKERS, Arguments, Number
from chaos import accepted, workers_of
from chaos_clients import NEW_CONNECTION, Client
from environment import describe
from processes import free_port, running

MAX_WAIT = 0.1
"""Seconds that a kill in a scrape may keep new connections waiting."""
WINDOW = 1.0
"""Seconds after a kill in which requests are looked at."""
LAG = re.compile(rb"^tiny_listener_supervisor_event_loop_lag_seconds (\S+)", re.MULTILINE)


@dataclass
class Seen:
    """What clients saw after kills.

    :ivar waits: seconds that requests took which were answered
    :ivar lost: requests that were not
    :ivar in_flight: connections that killed workers had accepted
    """

    waits: list[float] = field(default_factory=list)
    lost: int = 0
    in_flight: int = 0


class Clients:
    """Threads that open a new connection for each request, and record its start, its duration and its outcome."""

    def __init__(self, port: int, count: int) -> None:
        self._over = threading.Event()
        self.notes: list[tuple[float, float, str]] = []
        self._threads = [threading.Thread(target=self._ask, args=(port,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, port: int) -> None:
        client = Client(port, NEW_CONNECTION)
        while not self._over.is_set():
            began = time.monotonic()
            outcome = client.ask()
            self.notes.append((began, time.monotonic() - began, outcome))
            time.sleep(0.002)

    def stop(self) -> None:
        """Let them end."""
        self._over.set()
        for thread in self._threads:
            thread.join()


class Scraper:
    """Scrapes, one page after the other, while it is told to."""

    def __init__(self, admin: int) -> None:
        self._url = f"http://127.0.0.1:{admin}/metrics"
        self._over = threading.Event()
        self.lag = 0.0
        self.pages = 0
        self._thread = threading.Thread(target=self._scrape)
        self._thread.start()

    def _scrape(self) -> None:
        while not self._over.is_set():
            with urllib.request.urlopen(self._url, timeout=60) as answer:
                page = answer.read()
            self.pages += 1
            if (found := LAG.search(page)) is not None:
                self.lag = max(self.lag, float(found[1]))

    def stop(self) -> None:
        """Let it end."""
        self._over.set()
        self._thread.join()


def kill_workers(pid: int, port: int, kills: int, clients: Clients, wait_ready: int) -> Seen:
    """Kill workers one after the other; return what clients saw."""
    seen = Seen()
    for number in range(kills):
        workers = workers_of(pid)
        victim = workers[number % len(workers)]
        os.kill(victim, signal.SIGSTOP)
        seen.in_flight += accepted(victim, {port})
        at = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        time.sleep(WINDOW + 0.5)
        notes = [note for note in list(clients.notes) if at <= note[0] <= at + WINDOW]
        seen.waits += [seconds for _, seconds, outcome in notes if outcome == "answered"]
        seen.lost += sum(outcome != "answered" for _, _, outcome in notes)
        _wait_until_ready(wait_ready)
    return seen


def _wait_until_ready(admin: int) -> None:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        finally:
            connection.close()
        time.sleep(0.1)


def main() -> int:
    """Measure, print, and judge."""
    parser = Arguments(__doc__)
    parser.add_argument("--workers", type=WORKERS, default=16)
    parser.add_argument("--labels", type=Number(1, 1_000_000), default=10_000)
    parser.add_argument("--kills", type=REPEATS, default=10)
    parser.add_argument("--clients", type=Number(1, MAX_CLIENTS), default=4)
    options = parser.parse_args()
    os.environ["LABEL_SETS"] = str(options.labels)
    port, admin = free_port(), free_port()
    command = [
        sys.executable, "-m", "tiny_listener", "--app-dir", "loadtest/servers", "--port", str(port), "--workers",
        str(options.workers), "--admin-port", str(admin), "--log-level", "critical", "labels:app",
    ]  # fmt: skip
    with running(command, port) as process:
        _wait_until_ready(admin)
        clients = Clients(port, options.clients)
        try:
            peace = kill_workers(process.pid, port, options.kills, clients, admin)
            scraper = Scraper(admin)
            try:
                while not scraper.pages:  # the first page takes longest, and is not what is measured
                    time.sleep(0.05)
                scraped = kill_workers(process.pid, port, options.kills, clients, admin)
            finally:
                scraper.stop()
        finally:
            clients.stop()
    print(
        f"{options.workers} workers with {options.labels:,} label sets each, {options.kills} kills; "
        f"{describe(sys.executable)}\n\n"
        "| kills | requests | p99 ms | max ms | lost | in flight |\n|---|---:|---:|---:|---:|---:|"
    )
    for name, seen in (("in peace", peace), (f"in one of {scraper.pages} scrapes", scraped)):
        waits = sorted(seen.waits)
        p99, most = 1000 * waits[len(waits) * 99 // 100], 1000 * waits[-1]
        print(f"| {name} | {len(waits):,} | {p99:.1f} | {most:.1f} | {seen.lost} | {seen.in_flight} |")
    beyond = max(scraped.waits) - max(peace.waits)
    print(f"\nbeyond the slowest in peace: {1000 * beyond:.0f} ms; {1000 * MAX_WAIT:.0f} are allowed")
    print(f"greatest lag of the supervisor's loop: {1000 * scraper.lag:.0f} ms")
    return int(beyond > MAX_WAIT or peace.lost > peace.in_flight or scraped.lost > scraped.in_flight)


if __name__ == "__main__":
    sys.exit(main())
