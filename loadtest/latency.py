"""How long requests take at a third of what a server can do, at two thirds, and close to all of it.

    python loadtest/latency.py [--servers tiny-listener,uvicorn] [--shares 30,60,90] [--rounds 3] [--seconds 5]

The client sends at a fixed rate, and counts from when a request was due (`open_loop.py`); the rates are shares of the
most that it and the server do together, measured first. wrk's figure for the same is printed next to that, as a check
of the client. Server and client are pinned to different cores; the rounds take turns, and medians count.
Prints Markdown and leaves it, with a plot, in loadtest/results/.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from arguments import REPEATS, SECONDS, Arguments, Listed, Number
from bench_http import CONNECTIONS, commands
from environment import bench_python, describe
from processes import free_port, pinned, running

HERE = Path(__file__).parent
RESULTS = HERE / "results"
COLUMNS = ("p50", "p90", "p99", "p99.9")


def ask(python: str, port: int, seconds: float, rate: float | None = None) -> dict[str, Any]:
    """Run the client once, and return what it measured."""
    client = [python, str(HERE / "open_loop.py"), str(port), "--connections", str(CONNECTIONS)]
    options = ["--seconds", str(seconds), *(["--rate", str(rate)] if rate is not None else [])]
    command = pinned([*client, *options], 1)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def wrk(port: int, seconds: float) -> float:
    """Return the requests per second that wrk sees."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}", f"http://127.0.0.1:{port}/user/Bob"]
    done = subprocess.run(pinned(command, 1), capture_output=True, text=True, check=True)
    return float(done.stdout.rpartition("Requests/sec:")[2].split()[0])


def measure(python: str, name: str, shares: list[int], rounds: int, seconds: float) -> dict[str, Any]:
    """Measure one server: the most it does, by both clients, and its latencies at shares of that."""
    port, admin = free_port(), free_port()
    with running(pinned(commands(python, port, admin)[name], 0), port):
        wrk(port, 1)  # to warm up
        most, by_wrk = [], []
        for _ in range(rounds):
            most.append(ask(python, port, seconds / 2)["rate"])
            by_wrk.append(wrk(port, seconds / 2))
        limit = statistics.median(most)
        runs: dict[int, list[dict[str, Any]]] = {share: [] for share in shares}
        for _ in range(rounds):
            for share in shares:
                runs[share].append(ask(python, port, seconds, limit * share / 100))
    points = []
    for share in shares:
        figures = {column: statistics.median(run["latency"][column] for run in runs[share]) for column in COLUMNS}
        late = statistics.median(run["late"]["p99"] for run in runs[share])
        failed = sum(run["failed"] for run in runs[share])
        points.append({"share": share, "rate": limit * share / 100, "late": late, "failed": failed, **figures})
    return {"most": limit, "wrk": statistics.median(by_wrk), "points": points}


def report(measured: dict[str, dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    columns = " | ".join(f"{column} ms" for column in COLUMNS)
    lines = [
        f"| server | share | requests/s | {columns} | sent late, p99 ms | failed |",
        f"|---|---:|---:|{'---:|' * len(COLUMNS)}---:|---:|",
    ]
    for name, figures in measured.items():
        for point in figures["points"]:
            cells = [f"{point[column] / 1000:.2f}" for column in (*COLUMNS, "late")]
            lines.append(
                f"| {name} | {point['share']} % | {point['rate']:,.0f} | {' | '.join(cells)} | {point['failed']} |"
            )
    lines.append("")
    for name, figures in measured.items():
        agree = figures["most"] / figures["wrk"]
        lines.append(
            f"- {name}: at most {figures['most']:,.0f} requests/s; by wrk {figures['wrk']:,.0f} ({agree:.2f} of that)"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, and print a table; exit code 1 when a request failed."""
    parser = Arguments(__doc__)
    parser.add_argument("--servers", default="tiny-listener,uvicorn", help="as in bench_http.py, with commas between")
    parser.add_argument(
        "--shares", type=Listed(Number(1, 100)), default="30,60,90", help="per cent of the most, with commas between"
    )
    parser.add_argument("--rounds", type=REPEATS, default=3)
    parser.add_argument("--seconds", type=SECONDS, default=5.0, help="of each measurement")
    options = parser.parse_args()
    known = commands("python", 0, 0)
    names = options.servers.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}")
    python = bench_python()
    measured = {name: measure(python, name, options.shares, options.rounds, options.seconds) for name in names}
    text = (
        f"One worker on one core of {os.cpu_count()}, the client on another, {CONNECTIONS} connections; medians of "
        f"{options.rounds} rounds of {options.seconds:g} s; {describe(python)}\n\n{report(measured)}\n"
    )
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latency.md").write_text(text)
    plot = [python, str(HERE / "plot_latency.py"), str(RESULTS / "latency.png")]
    subprocess.run(plot, input=json.dumps(measured), text=True, check=True)
    print("loadtest/results/latency.md, latency.png")
    return int(any(point["failed"] for figures in measured.values() for point in figures["points"]))


if __name__ == "__main__":
    sys.exit(main())
