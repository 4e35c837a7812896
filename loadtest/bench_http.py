"""Requests per second of one worker against the floor, in turns in one run.

    python loadtest/bench_http.py [--seconds 4] [--rounds 5]

The server is pinned to one core and wrk to another; servers take turns, each is compared with the floor of its own
round, and the median of the rounds counts, for the machine's other guests are noisy. Exit code 1 when a target is
missed.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
from pathlib import Path

from environment import bench_python, describe
from processes import free_port, pinned, running

HERE = Path(__file__).parent
TARGET = 0.5
"""Of the floor, on hello with metrics on."""

CONNECTIONS = 64


def commands(python: str, port: int, admin: int) -> dict[str, list[str]]:
    """Return the servers to compare, each as a command."""
    ours = [
        str(Path(python).parent / "tiny-listener"), "--app-dir", str(HERE / "servers"), "--port", str(port),
        "--admin-port", str(admin), "--log-level", "error", "hello:app",
    ]  # fmt: skip
    return {
        "floor (uvloop + httptools, constant answer)": [
            python, str(HERE / "servers" / "floor.py"), str(port)
        ],
        "tiny-listener": ours,
        "tiny-listener --no-metrics": [*ours[:-1], "--no-metrics", ours[-1]],
    }  # fmt: skip


def measure(port: int, seconds: float) -> tuple[float, float]:
    """Return requests per second and the 99th percentile in milliseconds, as wrk saw them.

    :raises RuntimeError: a request failed
    """
    url = f"http://127.0.0.1:{port}/user/Bob"
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--latency", url]
    out = subprocess.run(pinned(wrk, 1), capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"requests failed:\n{out}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()  # type: ignore[union-attr]
    return rate, float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each server")
    options = parser.parse_args()
    python = bench_python()
    print(describe(python))
    rates: dict[str, list[float]] = {}
    tails: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        port, admin = free_port(), free_port()
        for name, command in commands(python, port, admin).items():
            with running(pinned(command, 0), port):
                measure(port, 1)  # warm-up
                rate, p99 = measure(port, options.seconds)
            rates.setdefault(name, []).append(rate)
            tails.setdefault(name, []).append(p99)
    floor = next(iter(rates.values()))
    ratios = {name: statistics.median(a / b for a, b in zip(r, floor, strict=True)) for name, r in rates.items()}
    print(f"GET /user/Bob, {CONNECTIONS} keep-alive connections, one core; medians of {options.rounds} rounds\n")
    print("| server | requests/s | of the floor | p99 ms |\n|---|---:|---:|---:|")
    for name, values in rates.items():
        print(
            f"| {name} | {statistics.median(values):,.0f} | {ratios[name]:.2f} | {statistics.median(tails[name]):.2f} |"
        )
    ours = ratios["tiny-listener"]
    print(f"\ntarget: {TARGET} of the floor with metrics on: {'met' if ours >= TARGET else 'MISSED'} ({ours:.2f})")
    return 0 if ours >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
