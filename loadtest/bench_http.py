"""Requests per second of one worker, against the floor and against others, in turns in one run.

    python loadtest/bench_http.py [--servers NAME,...] [--scenarios NAME,...] [--rounds 3] [--seconds 2]

The server is pinned to one core and wrk to another; servers take turns, each is compared with the floor of its own
round, and the median of the rounds counts, for the machine's other guests are noisy. Prints Markdown and leaves it,
with a plot, in loadtest/results/. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from arguments import REPEATS, WHOLE_SECONDS, Arguments
from environment import bench_python, describe
from processes import cpu_seconds, free_port, pinned, resident_bytes, running

HERE = Path(__file__).parent
RESULTS = HERE / "results"
CONNECTIONS = 64
FLOOR = "floor"
OURS = "tiny-listener"
HOOKED = "tiny-listener with 2 hooks and a Depends"


@dataclass(frozen=True)
class Scenario:
    """What wrk asks for.

    :ivar title: for people
    :ivar found: whether it is answered with success, except by the floor, which gives its own answer
    :ivar with_floor: whether the floor can be asked so; it never closes a connection
    :ivar connections: that wrk opens
    :ivar arguments: of the script
    """

    title: str
    path: str = "/user/Bob"
    headers: tuple[str, ...] = ()
    script: str | None = None
    found: bool = True
    with_floor: bool = True
    connections: int = CONNECTIONS
    arguments: tuple[str, ...] = ()


SCENARIOS = {
    "hello": Scenario("hello"),
    "browser": Scenario("12 browser headers", script="browser.lua"),
    "echo": Scenario("POST 1 KiB, echoed", path="/echo", script="echo.lua"),
    "miss": Scenario("404", path="/nothing", found=False),
    "pipelined": Scenario("16 pipelined", script="pipeline.lua"),
    "connect": Scenario("a connection each", headers=("Connection: close",), with_floor=False),
}


@dataclass
class Figures:
    """What was measured of one server in one scenario, one value a round."""

    rates: list[float] = field(default_factory=list)
    """Requests per second."""
    tails: list[float] = field(default_factory=list)
    """99th percentiles in milliseconds."""
    cpu: list[float] = field(default_factory=list)
    """Microseconds of the server's processor time for a request."""
    memory: list[float] = field(default_factory=list)
    """MiB resident afterwards."""

    def rate(self) -> float:
        """Return the median of the requests per second."""
        return statistics.median(self.rates)

    def ratio(self, other: Figures) -> float:
        """Return the median of the ratios to another server, each of one round."""
        return statistics.median(a / b for a, b in zip(self.rates, other.rates, strict=True))


Table = dict[str, dict[str, Figures]]
"""By server, by scenario."""

TARGETS = (
    ("hello", OURS, FLOOR, 0.70),
    ("hello", OURS, "uvicorn", 1.8),
    ("hello", OURS, "socketify", 1.2),
    ("hello", HOOKED, FLOOR, 0.55),
    ("browser", OURS, FLOOR, 0.65),
    ("echo", OURS, FLOOR, 0.60),
    ("miss", OURS, FLOOR, 0.70),
    ("pipelined", OURS, FLOOR, 0.15),
    ("connect", OURS, "uvicorn", 1.1),
    ("connect", OURS, "granian", 1.1),
)
"""Scenario, server, what it is compared with, and the least ratio."""


def commands(python: str, port: int, admin: int) -> dict[str, list[str]]:
    """Return the servers to compare, each as a command."""
    bin_folder, servers = Path(python).parent, HERE / "servers"

    def ours(app: str, *options: str) -> list[str]:
        return [
            str(bin_folder / "tiny-listener"), "--app-dir", str(servers), "--port", str(port),
            "--admin-port", str(admin), "--log-level", "error", *options, app,
        ]  # fmt: skip

    def uvicorn(app: str) -> list[str]:
        return [
            str(bin_folder / "uvicorn"), "--app-dir", str(servers), "--port", str(port), "--no-access-log",
            "--log-level", "error", "--loop", "uvloop", "--http", "httptools", app,
        ]  # fmt: skip

    return {
        FLOOR: [python, str(servers / "floor.py"), str(port)],
        OURS: ours("hello:app"),
        "tiny-listener --no-metrics": ours("hello:app", "--no-metrics"),
        HOOKED: ours("hooked:app"),
        "uvicorn": uvicorn("asgi:app"),
        "starlette": uvicorn("starlette_app:app"),
        "granian": [
            str(bin_folder / "granian"), "--interface", "rsgi", "--working-dir", str(servers), "--port", str(port),
            "--loop", "uvloop", "--no-access-log", "--log-level", "error", "rsgi:app",
        ],
        "socketify": [python, str(servers / "socketify_app.py"), str(port)],
        "fastwsgi": [python, str(servers / "wsgi.py"), str(port)],
    }  # fmt: skip


def measure(scenario: Scenario, port: int, seconds: float, *, floor: bool) -> tuple[float, float, int]:
    """Return requests per second, the 99th percentile in milliseconds, and how many requests, as wrk saw them.

    :raises RuntimeError: a request failed
    """
    wrk = ["wrk", "-t1", f"-c{scenario.connections}", f"-d{seconds:.0f}s", "--latency"]
    for header in scenario.headers:
        wrk += ["-H", header]
    if scenario.script is not None:
        wrk += ["-s", str(HERE / "wrk" / scenario.script)]
    wrk += [f"http://127.0.0.1:{port}{scenario.path}", "--", *scenario.arguments]
    out = subprocess.run(pinned(wrk, 1), capture_output=True, text=True, check=True).stdout
    refused = "Non-2xx" in out
    # A server that closes after its answer may do so before wrk has looked: wrk counts that as an error of reading.
    failed = "Socket errors" in out and scenario.with_floor
    if failed or refused != (not scenario.found and not floor):
        raise RuntimeError(f"requests failed, or did not where they should:\n{out}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()  # type: ignore[union-attr]
    count = int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]
    return rate, float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit], count


def run(names: Iterable[str], scenarios: Mapping[str, Scenario], rounds: int, seconds: float, python: str) -> Table:
    """Measure servers in turns."""
    table: Table = {name: {} for name in names}
    for _ in range(rounds):
        for key, scenario in scenarios.items():
            for name, figures in table.items():
                if (name == FLOOR and not scenario.with_floor) or (name == HOOKED and key != "hello"):
                    continue
                port = free_port()
                with running(pinned(commands(python, port, free_port())[name], 0), port) as process:
                    measure(scenario, port, 1, floor=name == FLOOR)  # warm-up
                    before = cpu_seconds(process.pid)
                    rate, p99, count = measure(scenario, port, seconds, floor=name == FLOOR)
                    spent = cpu_seconds(process.pid) - before
                    memory = resident_bytes(process.pid)
                one = figures.setdefault(key, Figures())
                one.rates.append(rate)
                one.tails.append(p99)
                one.cpu.append(spent / count * 1e6)
                one.memory.append(memory / 2**20)
    return table


def report(table: Table, scenarios: Mapping[str, Scenario]) -> str:
    """Return the tables of what was measured."""
    lines = [f"| requests/s (of the floor) | {' | '.join(s.title for s in scenarios.values())} |"]
    lines.append("|---|" + "---:|" * len(scenarios))
    for name, figures in table.items():
        cells = []
        for key in scenarios:
            floor = table[FLOOR].get(key)
            if key not in figures:
                cells.append("")
            elif floor is None:
                cells.append(f"{figures[key].rate():,.0f}")
            else:
                cells.append(f"{figures[key].rate():,.0f} ({figures[key].ratio(floor):.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    first = next(iter(scenarios))
    lines += ["", f"| {scenarios[first].title} | CPU us a request | p99 ms | resident MiB |", "|---|---:|---:|---:|"]
    for name, figures in table.items():
        if first in figures:
            one = figures[first]
            cpu, p99, memory = (statistics.median(values) for values in (one.cpu, one.tails, one.memory))
            lines.append(f"| {name} | {cpu:.1f} | {p99:.2f} | {memory:.1f} |")
    return "\n".join(lines)


def judge(table: Table) -> tuple[str, bool]:
    """Return the targets in words, and whether all that were measured are met."""
    lines, met = [], True
    for scenario, server, other, least in TARGETS:
        one, against = table.get(server, {}).get(scenario), table.get(other, {}).get(scenario)
        if one is None or against is None:
            continue
        ratio = one.ratio(against)
        met = met and ratio >= least
        lines.append(f"- {scenario}: {server} {ratio:.2f} of {other}; target {least:.2f}: {_verdict(ratio >= least)}")
    return "\n".join(lines), met


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def _chosen(parser: Arguments, text: str | None, known: Iterable[str]) -> list[str]:
    names = list(known)
    if text is None:
        return names
    chosen = text.split(",")
    unknown = [name for name in chosen if name not in names]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(names)}")
    return [name for name in names if name in chosen]


def main() -> int:
    """Measure, and print tables."""
    parser = Arguments(__doc__)
    parser.add_argument("--servers", help="some of them, with commas between; the floor is always measured")
    parser.add_argument("--scenarios", help=f"some of {', '.join(SCENARIOS)}, with commas between")
    parser.add_argument("--seconds", type=WHOLE_SECONDS, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=REPEATS, default=3, help="measurements of each server")
    options = parser.parse_args()
    names = _chosen(parser, options.servers, commands("python", 0, 0))
    names = names if FLOOR in names else [FLOOR, *names]
    scenarios = {key: SCENARIOS[key] for key in _chosen(parser, options.scenarios, SCENARIOS)}
    python = bench_python()
    table = run(names, scenarios, options.rounds, options.seconds, python)
    verdicts, met = judge(table)
    text = (
        f"One worker on one core of {os.cpu_count()}, wrk on another, {CONNECTIONS} connections; medians of "
        f"{options.rounds} rounds of {options.seconds:g} s; {describe(python)}\n\n"
        f"{report(table, scenarios)}\n\n{verdicts}\n"
    )
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench.md").write_text(text)
    rates = {
        SCENARIOS[key].title: {name: figures[key].rate() for name, figures in table.items() if key in figures}
        for key in scenarios
    }
    subprocess.run(
        [python, str(HERE / "plot.py"), str(RESULTS / "bench.png")], input=json.dumps(rates), text=True, check=True
    )
    print(f"{RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}/bench.md, bench.png")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
