"""The load tests, for locust: users by scenario, shapes, a line each few seconds, objectives that decide the exit code.

    locust -f loadtest/locustfile.py --headless --host http://127.0.0.1:8000 --users 20 --run-time 60s [Browser ...]

The server is `tiny-listener --app-dir loadtest/servers load:app`; `loadtest/run.py` does all of it. Without names all
classes of users are run. Several processes and machines: see `loadtest/distributed`.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
import locust.runners
import locust.stats
from arguments import PORT, Decimal
from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import WorkerRunner
from scenarios import USERS
from scrape import Scrape, scrape
from shapes import SHAPES, users_at
from slo import Seen, judge, read_objectives
from timeline import Timeline, as_progress
from users import Browser, Lost, Newcomer, Program, Reader, Sender, Slow, Talker, Uploader

__all__ = [
    "Browser",
    "Chosen",
    "Lost",
    "Newcomer",
    "Program",
    "Reader",
    "Sender",
    "Slow",
    "Talker",
    "Uploader",
]

HERE = Path(__file__).parent
REPORT_INTERVAL = 1.0
"""Seconds between two reports of a process that sends to the one that counts."""


def three_figures(milliseconds: float) -> float:
    """Round a time to three significant figures: locust rounds to whole milliseconds, and most answers take less."""
    return float(f"{milliseconds:.3g}")


locust.stats.bucket_response_time = three_figures
locust.runners.WORKER_REPORT_INTERVAL = REPORT_INTERVAL


def objectives(path: str) -> str:
    """Return the path of a file of objectives."""
    try:
        read_objectives(Path(path), USERS)
    except (OSError, ValueError) as exc:
        raise ArgumentTypeError(str(exc)) from None
    return path


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """Add ours to locust's options."""
    parser.add_argument("--shape", default="flat", choices=sorted(SHAPES), help="how the number of users changes")
    parser.add_argument(
        "--slo", type=objectives, default=str(HERE / "slo.toml"), help="file of objectives that decide the exit code"
    )
    parser.add_argument("--admin", default="", help="URL of the server's admin endpoint, for its own figures")
    parser.add_argument("--tcp-port", type=PORT, default=8025, help="of the server's lines over TCP, for Talker")
    parser.add_argument("--timeline", default="", help="write what was seen in each second to this file, as CSV")
    parser.add_argument(
        "--progress", type=Decimal(0, 86_400), default=5.0, help="seconds between two lines about it; 0: none"
    )


class Chosen(LoadTestShape):
    """The shape that --shape names."""

    use_common_options = True
    busy_until = 0.0
    """When a user was last seen, in seconds from the beginning."""

    def tick(self) -> tuple[int, float] | None:
        """See `LoadTestShape`."""
        options = self.runner.environment.parsed_options
        if not options.run_time:
            return options.num_users, options.spawn_rate
        now = self.get_run_time()
        users = users_at(options.shape, now, options.run_time, options.num_users)
        rate = max(options.spawn_rate, options.num_users)
        if users is not None:
            return users, rate
        # Processes that send are told to quit when none has a user left and all have reported: once told, they have
        # half a second for their last figures, and what a user is about may take longer.
        if self.runner.user_count:
            self.busy_until = now
        return (0, rate) if now - self.busy_until < 2 * REPORT_INTERVAL else None


class Watch:
    """Looks once a second at what was seen, and says so; judges in the end."""

    def __init__(self, environment: Environment) -> None:
        self.environment: Any = environment
        self.options = self.environment.parsed_options
        self.objectives = read_objectives(Path(self.options.slo), USERS)
        self.began = time.monotonic()
        self.timeline = Timeline(time.monotonic)

    def run(self) -> None:
        """Look until the run is over."""
        spoke = 0.0
        while True:
            gevent.sleep(1.0)
            row = self.timeline.add(self.environment.runner.user_count, self._total(), self._scraped())
            if row is not None and self.options.progress and row["seconds"] - spoke >= self.options.progress:
                spoke = row["seconds"]
                print(as_progress(row), flush=True)

    def _scraped(self) -> Scrape | None:
        try:
            return scrape(self.options.admin) if self.options.admin else None
        except OSError:
            return None

    def _total(self) -> Seen:
        total = Seen()
        for seen in self.seen().values():
            total.add(seen)
        return total

    def seen(self) -> dict[str, Seen]:
        """Return what clients saw, by scenario."""
        by_scenario: dict[str, Seen] = {}
        for entry in list(self.environment.stats.entries.values()):
            seen = by_scenario.setdefault(entry.name.partition(" ")[0], Seen())
            seen.add(Seen(entry.num_requests, entry.num_failures, Counter(entry.response_times)))
        return by_scenario

    def judge(self) -> None:
        """Print which objectives were met; if one was not, the exit code is 1."""
        if self.options.timeline:
            self.timeline.write(Path(self.options.timeline))
        for error in self.environment.stats.errors.values():
            print(f"FAILED {error.occurrences} times: {error.method} {error.name}: {error.error}")
        took = time.monotonic() - self.began
        verdicts = judge(self.objectives, self.seen(), min(took, self.options.run_time or took))
        print("\n" + "\n".join(map(str, verdicts)), flush=True)
        self.environment.process_exit_code = 0 if all(verdict.is_met for verdict in verdicts) else 1


@events.init.add_listener
def watch(environment: Environment, **_kwargs: Any) -> None:
    """Watch the run, unless another process does."""
    if isinstance(environment.runner, WorkerRunner):
        return
    watch = Watch(environment)
    watching: list[gevent.Greenlet[..., None]] = []

    @environment.events.test_start.add_listener
    def begin(**_kwargs: Any) -> None:
        watch.began = time.monotonic()
        watch.timeline = Timeline(time.monotonic)
        watching.append(gevent.spawn(watch.run))

    @environment.events.quitting.add_listener
    def end(**_kwargs: Any) -> None:
        gevent.killall(watching)
        watch.judge()
        # Locust soon closes the CSV files, while who writes them sleeps: let him write once more, and then sleep on.
        interval = locust.stats.CSV_STATS_INTERVAL_SEC
        locust.stats.CSV_STATS_INTERVAL_SEC = 3600
        gevent.sleep(1.1 * interval)
