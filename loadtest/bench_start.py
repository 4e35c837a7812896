"""How soon a server is there, and what it takes when it idles.

    python loadtest/bench_start.py [WORKERS]

Starts the command from cold, reloads it, and looks at its memory, with 8 workers unless told; each time is the median
of five. Then the same for an application of 5,000 routes, without probation, of three; and how many times as long that
takes as one of a single route, in the same run.

Memory is the proportional set size of the workers together (PSS, proc_pid_smaps(5)): a page that several processes
share counts once. Prints each figure next to its target; exit code 1 when one is missed.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from arguments import WORKERS, Arguments
from processes import ask, children, free_port

TIMES = 5
TIMES_OF_MANY = 3
ROUTES = 5000
EXAMPLES = Path(__file__).parent.parent / "examples"
SERVERS = Path(__file__).parent / "servers"
LOOK = 0.02
"""Seconds between two looks: each costs the supervisor some milliseconds, where there are many routes."""
LIMIT = 60.0
"""Seconds until something that does not come is given up."""


def wait_for_state(path: str, version: int, process: subprocess.Popen[bytes]) -> None:
    """Return when all workers serve code of a version, and no others are left.

    :raises RuntimeError: they do not, in time
    """
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode}")
        if Path(path).exists():
            status = ask(path, "AskStatus")
            reload = status["reload"]
            done = reload is not None and reload["version"] == version and reload["state"] == "done"
            if status["state"] == "ready" and (done or version == 0):
                return
        time.sleep(LOOK)
    raise RuntimeError(f"version {version} did not come within {LIMIT:g} s")


def pss_mib(pid: int) -> float:
    """Return the proportional set size of a process's children, in MiB."""
    total = 0
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        lines = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def measure(path: str, workers: int, *app: str, folder: Path = EXAMPLES) -> tuple[float, float, float]:
    """Return the seconds of a start and of a reload, and MiB of the workers before it.

    :param app: what to run, in `folder`, and options before it
    """
    command = [
        sys.executable, "-m", "tiny_listener", "--workers", str(workers), "--port", str(free_port()),
        "--admin-port", "0", "--control-socket", path, "--log-level", "error", *app,
    ]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        wait_for_state(path, 0, process)
        start = time.monotonic() - began
        memory = pss_mib(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGHUP)
        wait_for_state(path, 1, process)
        while children(process.pid) > workers:
            time.sleep(0.002)
        return start, time.monotonic() - began, memory
    finally:
        process.terminate()
        process.wait(LIMIT)


def median_of(times: int, workers: int, *app: str, folder: Path = EXAMPLES) -> tuple[float, float, float]:
    """Return the median of what `measure` finds, each for itself."""
    with tempfile.TemporaryDirectory() as control:
        found = [measure(str(Path(control) / "control"), workers, *app, folder=folder) for _ in range(times)]
    start, reload, memory = (statistics.median(column) for column in zip(*found, strict=True))
    return start, reload, memory


def main() -> int:
    """Measure, print, and judge."""
    parser = Arguments(__doc__)
    parser.add_argument("workers", nargs="?", type=WORKERS, default=8)
    workers = parser.parse_args().workers
    start, reload, memory = median_of(TIMES, workers, "http_web:app")
    of_routes = {}
    for routes in (1, ROUTES):
        os.environ["ROUTES"] = str(routes)
        of_routes[routes] = median_of(
            TIMES_OF_MANY, workers, "--reload-probation", "0", "many_routes:app", folder=SERVERS
        )
    many, one = of_routes[ROUTES], of_routes[1]
    rows = [
        (f"command to {workers} ready workers", start * 1000, 1000.0, "ms"),
        (f"HUP to {workers} new ones, the old ones gone", reload * 1000, 5000.0, "ms"),
        (f"PSS of {workers} idle workers", memory, 80.0, "MiB"),
        (f"{ROUTES:,} routes: to {workers} ready workers", many[0] * 1000, 2000.0, "ms"),
        (f"{ROUTES:,} routes: HUP without probation", many[1] * 1000, 3000.0, "ms"),
    ]
    missed = False
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    for name, value, target, unit in rows:
        met = value <= target
        missed |= not met
        print(f"{name:45}{value:8.0f} {unit:4}  target {target:5.0f} {unit:4} {'' if met else 'MISSED'}".rstrip())
    ratios = " and ".join(f"{whole / reference:.1f}" for whole, reference in zip(many[:2], one[:2], strict=True))
    print(f"{ROUTES:,} routes take {ratios} times as long as 1, to start and to reload")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
