"""What many reloads under load lose, and leave behind in a supervisor: open files, processes, shared memory, memory.

    python loadtest/bench_reloads.py [RELOADS] [WORKERS] [--clients 4]

Reloads a server (by default 1,000 times with 4 workers) through its control socket, without probation, while clients
open a new connection for each request. After each tenth it prints what exists once the old workers have ended. Exit
code 1 when a request was not answered. Exit code 1 when anything is more at the end than after the first tenth, in
which caches and the allocator's arenas fill. Memory goes up and down by 2 MiB as the allocator takes and gives back;
the least of the last five looks may be 1 MiB more.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from arguments import WORKERS, Arguments, Number
from chaos_clients import NEW_CONNECTION, Client
from processes import ask, children, free_port, running

MAY_GROW_KIB = 1024
EXAMPLES = Path(__file__).parent.parent / "examples"
LIMIT = 30.0
"""Seconds that a reload may take."""


class Belongings(NamedTuple):
    """What the supervisor has."""

    files: int
    processes: int
    maps: int
    """Mappings of shared memory, /proc/PID/maps."""
    segments: int
    """Files in /dev/shm."""
    kib: int
    """Resident, of the supervisor alone."""


class Asking:
    """A client that opens a new connection for each request, in a thread of its own, a hundred times a second or so."""

    def __init__(self, port: int) -> None:
        self._client = Client(port, NEW_CONNECTION)
        self._over = threading.Event()
        self._outcomes: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._over.wait(0.01):
            self._outcomes[self._client.ask()] += 1

    def stop(self) -> Counter[str]:
        """Let it end; return what became of its requests."""
        self._over.set()
        self._thread.join()
        return self._outcomes


def look(pid: int) -> Belongings:
    """Return what a supervisor has now."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Belongings(
        len(os.listdir(f"/proc/{pid}/fd")),
        children(pid),
        sum("/dev/zero" in line for line in maps),
        len(os.listdir("/dev/shm")),
        pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    )


def reload(path: str, pid: int, workers: int) -> None:
    """Reload, and return when all workers are new and the old ones have ended.

    :raises RuntimeError: the reload failed, or takes too long
    """
    version, deadline = ask(path, "Reload")["version"], time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        now = ask(path, "AskStatus")["reload"]
        if now["state"] == "failed" or now["version"] != version:
            raise RuntimeError(f"reload {version}: {now}")
        if now["state"] == "done" and children(pid) == workers:
            ask(path, "AskStatus")  # the server answers after it has reaped the last one
            return
        time.sleep(0.005)
    raise RuntimeError(f"reload {version} took more than {LIMIT:g} s")


def main() -> int:
    """Reload, print, and judge."""
    parser = Arguments(__doc__)
    parser.add_argument("reloads", nargs="?", type=Number(1, 10**6), default=1000)
    parser.add_argument("workers", nargs="?", type=WORKERS, default=4)
    parser.add_argument(
        "--clients", type=Number(0, 1000), default=4, help="that open a new connection for each request"
    )
    options = parser.parse_args()
    workers: int = options.workers
    os.chdir(EXAMPLES)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "control")
        command = [
            sys.executable, "-m", "tiny_listener", "--workers", str(workers), "--port", str(port), "--admin-port", "0",
            "--reload-probation", "0",
            "--control-socket", path, "--log-level", "error", "http_web:app",
        ]  # fmt: skip
        with running(command, port) as process:
            while ask(path, "AskStatus")["state"] != "ready":
                time.sleep(0.01)
            asking = [Asking(port) for _ in range(options.clients)]
            started, looks = time.monotonic(), [look(process.pid)]
            print("reloads   files  processes  shared maps  /dev/shm  supervisor KiB   ms each")
            for number in range(1, options.reloads + 1):
                reload(path, process.pid, workers)
                if number % max(1, options.reloads // 10) == 0:
                    now, each = look(process.pid), (time.monotonic() - started) / number * 1000
                    print(f"{number:7,}{now.files:8}{now.processes:11}{now.maps:13}{now.segments:10}", end="")
                    print(f"{now.kib:16,}{each:10.0f}", flush=True)
                    looks.append(now)
            outcomes = sum((one.stop() for one in asking), Counter[str]())
    settled, end = looks[1], looks[-1]
    grown = [name for name in ("files", "processes", "maps", "segments") if getattr(end, name) > getattr(settled, name)]
    kib = min(now.kib for now in looks[-5:]) - settled.kib
    print(f"memory grew by {kib:,} KiB after the first tenth; {MAY_GROW_KIB:,} are allowed")
    if grown:
        print(f"more than after the first tenth: {', '.join(grown)}")
    lost = outcomes.total() - outcomes["answered"]
    print(f"{outcomes['answered']:,} requests were answered, {lost} were not: {dict(outcomes)}")
    return int(bool(grown) or kib > MAY_GROW_KIB or lost > 0)


if __name__ == "__main__":
    sys.exit(main())
