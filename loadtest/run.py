"""Load on a server of its own, by locust, and whether that is good enough: `make loadtest`, `make soak`.

    python loadtest/run.py [--scenarios api,churn] [--shape steps] [--seconds 60] [--users 24] [--workers 2]

Prints a line each few seconds, and in the end figures by scenario, the objectives of slo.toml, and whether the server
counted what locust did. Leaves in loadtest/results/ locust's HTML report and its CSV, the figures of each second as
CSV, and those as a plot. Exit code 1 when an objective was missed, the counts differ, or (with --shape soak) the server
grew.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from arguments import MAX_CLIENTS, WORKERS, Arguments, Number
from processes import free_port, running
from scenarios import USERS
from scrape import scrape
from shapes import SHAPES
from slo import ALL, Seen, percentile

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
RESULTS = HERE / "results"
NOT_HTTP = ("TCP", "STREAM")
"""What locust calls a request and the server does not: lines over TCP, and streams that it counts when they begin."""
MAX_GROWTH = 1.10
"""By how much the server's memory may grow from the first tenth of a soak to the last."""


def growth(timeline: Path) -> float | None:
    """Return the server's memory in the last tenth of a run over that after the first; None when it is not known."""
    with timeline.open(newline="") as file:
        sizes = [float(row["server_resident_mib"]) for row in csv.DictReader(file) if row["server_resident_mib"]]
    tenth = len(sizes) // 10
    if not tenth:
        return None
    return sum(sizes[-tenth:]) / sum(sizes[tenth : 2 * tenth])


def by_scenario(stats: list[dict[str, Any]]) -> dict[str, Seen]:
    """Return what locust's JSON says of each scenario, and of all."""
    seen: dict[str, Seen] = {}
    for entry in stats:
        times = Counter({float(ms): count for ms, count in entry["response_times"].items()})
        for name in (entry["name"].partition(" ")[0], ALL):
            seen.setdefault(name, Seen()).add(Seen(entry["num_requests"], entry["num_failures"], times))
    return seen


def table(seen: dict[str, Seen], seconds: float) -> str:
    """Return figures by scenario as Markdown."""
    lines = [
        "| scenario | requests | requests/s | failed | p50 ms | p95 ms | p99 ms | max ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, one in sorted(seen.items(), key=lambda item: (item[0] == ALL, item[0])):
        times = " | ".join(f"{percentile(one.times, share):.3g}" for share in (0.50, 0.95, 0.99, 1.0))
        lines.append(f"| {name} | {one.requests:,} | {one.requests / seconds:,.0f} | {one.failures:,} | {times} |")
    return "\n".join(lines)


def main() -> int:
    """Start the server, run locust, and judge."""
    parser = Arguments(__doc__)
    parser.add_argument("--scenarios", default=",".join(USERS), help="some of them, with commas between")
    parser.add_argument("--shape", default="flat", choices=sorted(SHAPES), help="how the number of users changes")
    parser.add_argument("--seconds", type=Number(1, 7 * 86_400), default=60)
    parser.add_argument("--users", type=Number(1, MAX_CLIENTS), default=24)
    parser.add_argument("--workers", type=WORKERS, default=2)
    parser.add_argument("--processes", type=Number(1, 512), default=1, help="of locust, besides the one that counts")
    parser.add_argument("--slo", default=str(HERE / "slo.toml"), help="file of objectives")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the reports")
    options = parser.parse_args()
    scenarios = options.scenarios.split(",")
    if unknown := [name for name in scenarios if name not in USERS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(USERS)}")
    results: Path = options.results
    results.mkdir(exist_ok=True, parents=True)
    port, admin, tcp, between = (str(free_port()) for _ in range(4))
    server = [
        str(BIN / "tiny-listener"), "--app-dir", str(HERE / "servers"), "--port", port, "--admin-port", admin,
        "--workers", str(options.workers), "--log-level", "warning", "load:app",
    ]  # fmt: skip
    locust = [
        str(BIN / "locust"), "-f", str(HERE / "locustfile.py"), "--headless", "--host", f"http://127.0.0.1:{port}",
        "--users", str(options.users), "--spawn-rate", str(options.users), "--run-time", f"{options.seconds}s",
        "--processes", str(options.processes), "--stop-timeout", "5", "--loglevel", "WARNING", "--only-summary",
        "--shape", options.shape, "--slo", options.slo, "--admin", f"http://127.0.0.1:{admin}", "--tcp-port", tcp,
        "--master-bind-port", between, "--master-port", between,
        "--timeline", str(results / "timeline.csv"), "--html", str(results / "report.html"),
        "--csv", str(results / "locust"), "--json-file", str(results / "locust"),
        *(name for scenario in scenarios for name in USERS[scenario]),
    ]  # fmt: skip
    os.environ["LOAD_TCP_PORT"] = tcp
    with running(server, int(port)):
        code = subprocess.run(locust, check=False).returncode
        after = scrape(f"http://127.0.0.1:{admin}")
    stats = json.loads((results / "locust.json").read_text())
    print("\n" + table(by_scenario(stats), options.seconds))
    sent = sum(entry["num_requests"] for entry in stats if entry["method"] not in NOT_HTTP)
    is_counted = after.requests == sent
    verdict = "equal" if is_counted else "DIFFERENT"
    print(f"\nthe server counted {after.requests:,.0f} requests, locust {sent:,}: {verdict}")
    has_grown = False
    if options.shape == "soak" and (grown := growth(results / "timeline.csv")) is not None:
        has_grown = grown > MAX_GROWTH
        print(f"memory at the end over that at the beginning: {grown:.3f}{' TOO MUCH' if has_grown else ''}")
    plot = [sys.executable, str(HERE / "plot_load.py"), str(results / "timeline.csv")]
    for kind in ("png", "svg"):
        subprocess.run([*plot, str(results / f"load.{kind}")], check=True)
    print(f"{results}: report.html, locust_stats.csv, timeline.csv, load.png, load.svg")
    return code or int(not is_counted or has_grown)


if __name__ == "__main__":
    sys.exit(main())
