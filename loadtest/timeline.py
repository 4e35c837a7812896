"""What clients saw in each second of a run, next to the server's own figures for the same second."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from scrape import Scrape, quantile
from slo import Seen, percentile

__all__ = ["COLUMNS", "Timeline", "as_progress"]

COLUMNS = (
    "seconds",
    "users",
    "requests_per_second",
    "failures_per_second",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "server_requests_per_second",
    "server_p99_ms",
    "server_events_per_second",
    "server_connections",
    "server_loop_lag_ms",
    "server_resident_mib",
    "server_open_fds",
)

Row = dict[str, float]


class Timeline:
    """Rows of figures, each of the time since the row before.

    :param clock: seconds
    :ivar rows: by the columns of COLUMNS; those of the server are missing where it did not answer
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = self._last = clock()
        self._seen = Seen()
        self._scraped: Scrape | None = None
        self.rows: list[Row] = []

    def add(self, users: int, seen: Seen, scraped: Scrape | None) -> Row | None:
        """Add a row; return it, or None when no time has passed.

        :param seen: by clients, since the run began
        :param scraped: from the server; None when it did not answer
        """
        now = self._clock()
        passed = now - self._last
        if passed <= 0:
            return None
        times = Counter(seen.times) - self._seen.times
        row = {
            "seconds": now - self._began,
            "users": float(users),
            "requests_per_second": (seen.requests - self._seen.requests) / passed,
            "failures_per_second": (seen.failures - self._seen.failures) / passed,
            **{f"p{p}_ms": percentile(times, p / 100) for p in (50, 95, 99)},
        }
        if scraped is not None and self._scraped is not None:
            row |= _of_server(scraped, self._scraped, passed)
        self._last, self._scraped = now, scraped
        self._seen = Seen(seen.requests, seen.failures, Counter(seen.times))
        self.rows.append(row)
        return row

    def write(self, path: Path) -> None:
        """Write all rows to a file, as CSV."""
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in self.rows)


def _of_server(now: Scrape, before: Scrape, passed: float) -> Row:
    return {
        "server_requests_per_second": (now.requests - before.requests) / passed,
        "server_p99_ms": 1000 * quantile(now, before, 0.99),
        "server_events_per_second": (now.events - before.events) / passed,
        "server_connections": now.connections,
        "server_loop_lag_ms": 1000 * now.lag,
        "server_resident_mib": now.resident / 1024 / 1024,
        "server_open_fds": now.open_fds,
    }


def as_progress(row: Mapping[str, float]) -> str:
    """Return a row as a line for people."""
    line = (
        f"{row['seconds']:5.0f} s  {row['users']:4.0f} users  {row['requests_per_second']:8,.0f} requests/s  "
        f"p50 {row['p50_ms']:.3g} ms  p99 {row['p99_ms']:.3g} ms  {row['failures_per_second']:,.0f} failed/s"
    )
    if "server_p99_ms" in row:
        line += f"   server: p99 {row['server_p99_ms']:.3g} ms, loop {row['server_loop_lag_ms']:.3g} ms late"
    return line
