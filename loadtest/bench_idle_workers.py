"""Processor time of idle workers.

    python loadtest/bench_idle_workers.py [WORKERS] [--seconds 10]

Starts so many workers, 128 unless told, waits until they rest, and looks at the processor time of all of them and of
the supervisor over some seconds, as the scheduler counts it (schedstat of proc_pid(5), nanoseconds). Prints it as a
share of one core, next to its target; exit code 1 when that is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from arguments import SECONDS, WORKERS, Arguments
from bench_start import EXAMPLES, wait_for_state
from processes import free_port

TARGET = 3.0
"""Percent of a core, of all processes together."""
SETTLES = 8.0
"""Seconds after the start until workers rest, and what the start left to do is done."""


def seconds_on_cpu(pid: int) -> float:
    """Return the processor time of a process, in seconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def main() -> int:
    """Measure, print, and judge."""
    parser = Arguments(__doc__)
    parser.add_argument("workers", nargs="?", type=WORKERS, default=128)
    parser.add_argument("--seconds", type=SECONDS, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        control = str(Path(folder) / "control")
        command = [
            sys.executable, "-m", "tiny_listener", "--workers", str(options.workers), "--port", str(free_port()),
            "--admin-port", "0", "--control-socket", control, "--log-level", "error", "http_web:app",
        ]  # fmt: skip
        process = subprocess.Popen(command, cwd=EXAMPLES, stdout=subprocess.DEVNULL)
        try:
            wait_for_state(control, 0, process)
            time.sleep(SETTLES)
            workers = list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
            began = time.monotonic()
            before = seconds_on_cpu(process.pid), sum(map(seconds_on_cpu, workers))
            time.sleep(options.seconds)
            after = seconds_on_cpu(process.pid), sum(map(seconds_on_cpu, workers))
            passed = time.monotonic() - began
        finally:
            process.terminate()
            process.wait(60)
    supervisor, crew = (100 * (end - start) / passed for start, end in zip(before, after, strict=True))
    total = supervisor + crew
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(f"{options.workers} idle workers: {crew:.2f} % of a core, their supervisor {supervisor:.2f} %")
    print(f"together {total:.2f} %, target {TARGET:.2f} %{' MISSED' if total > TARGET else ''}")
    return int(total > TARGET)


if __name__ == "__main__":
    sys.exit(main())
