"""How the cost of a request grows with connections, with the size of its body, and with workers.

    python loadtest/bench_growth.py [--rounds 3] [--seconds 2]

The cost is the processor's time, of the server and all its workers on one core; wrk has another. Beside ours is
uvicorn, asked the same in the same round; medians of the rounds count. That many workers share a core shows what they
cost each other, and not what they gain on several cores. Prints Markdown and leaves it in loadtest/results/. Exit code
1 when a cost grows by more than it may.
"""

from __future__ import annotations

import resource
import statistics
import sys
from dataclasses import dataclass

from arguments import REPEATS, WHOLE_SECONDS, Arguments
from bench_http import OURS, RESULTS, SCENARIOS, Scenario, commands, measure
from environment import bench_python, describe
from processes import cpu_seconds, free_port, pinned, running

PEER = "uvicorn"
SERVERS = (OURS, PEER)


@dataclass(frozen=True)
class Step:
    """What is asked of a server of so many workers.

    :ivar size: in words
    :ivar at_most: times what the first step of its subject costs
    """

    size: str
    scenario: Scenario
    workers: int = 1
    at_most: float = 1.0


def _connections(count: int, at_most: float) -> Step:
    return Step(f"{count:,}", Scenario("hello", connections=count), at_most=at_most)


def _body(size: int, words: str, at_most: float) -> Step:
    return Step(words, Scenario("echo", path="/echo", script="echo.lua", arguments=(str(size),)), at_most=at_most)


def _workers(count: int, at_most: float) -> Step:
    return Step(str(count), SCENARIOS["hello"], count, at_most)


SUBJECTS = {
    "connections": (_connections(64, 1.0), _connections(512, 2.0), _connections(4096, 3.0)),
    "body, echoed": (
        _body(1, "1 byte", 1.0),
        _body(1024, "1 KiB", 1.5),
        _body(16 * 1024, "16 KiB", 3.0),
        _body(256 * 1024, "256 KiB", 30.0),
        _body(1024 * 1024, "1 MiB", 120.0),
    ),
    "workers on one core": (_workers(1, 1.0), _workers(2, 1.6), _workers(4, 2.0), _workers(8, 2.5)),
}
"""Each begins with what the others are compared with."""


def cost(server: str, step: Step, seconds: float, python: str) -> float:
    """Return microseconds of the processor for a request."""
    port = free_port()
    command = commands(python, port, free_port())[server]
    if step.workers > 1:
        command = [*command[:-1], "--workers", str(step.workers), command[-1]]
    with running(pinned(command, 0), port) as process:
        measure(step.scenario, port, 1, floor=False)  # warm-up
        before = cpu_seconds(process.pid)
        count = measure(step.scenario, port, seconds, floor=False)[2]
        return (cpu_seconds(process.pid) - before) / count * 1e6


def main() -> int:
    """Measure, print, and judge."""
    parser = Arguments(__doc__)
    parser.add_argument("--seconds", type=WHOLE_SECONDS, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=REPEATS, default=3, help="measurements of each server")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(step.scenario.connections for steps in SUBJECTS.values() for step in steps)
    if hard != resource.RLIM_INFINITY and hard < most + 100:
        print(f"{most + 100} open files are needed, and no more than {hard} are allowed: ulimit -n")
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most + 100), hard))  # server and client inherit it
    python = bench_python()
    costs: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(options.rounds):
        for subject, steps in SUBJECTS.items():
            for step in steps:
                for server in SERVERS:
                    one = cost(server, step, options.seconds, python)
                    costs.setdefault((subject, step.size, server), []).append(one)
    medians = {key: statistics.median(values) for key, values in costs.items()}
    lines = [
        f"Medians of {options.rounds} rounds of {options.seconds:g} s; {describe(python)}",
        "",
        f"| with | | CPU us a request | of the first | {PEER}: CPU us | of the first | ours of {PEER}'s |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    bad = []
    for subject, steps in SUBJECTS.items():
        firsts = {server: medians[subject, steps[0].size, server] for server in SERVERS}
        for step in steps:
            ours, peers = (medians[subject, step.size, server] for server in SERVERS)
            grown = ours / firsts[OURS]
            lines.append(
                f"| {subject} | {step.size} | {ours:,.1f} | {grown:.2f} | {peers:,.1f} | {peers / firsts[PEER]:.2f} "
                f"| {ours / peers:.2f} |"
            )
            if grown > step.at_most:
                bad.append(f"{subject}: {step.size} costs {grown:.2f} times as much, over {step.at_most:g}: MISSED")
    text = "\n".join([*lines, *(["", *bad] if bad else []), ""])
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "growth.md").write_text(text)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
