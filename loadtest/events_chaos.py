"""Keyed events while workers, the carrier and the supervisor are killed, reloaded and scaled; an oracle judges.

    python loadtest/events_chaos.py [--store sqlite|full|memory] [--events 100000] [--kills 100] [--keys 200]
                                    [--skew 0|1] [--workers 3] [--seed N] [--milliseconds 1] [--stops 0]
                                    [--small-disk]

Two processes publish; handlers append to a file; `events/oracle.py` judges it. In memory only workers are killed: what
waits in memory is lost with the carrier, as is documented. With --small-disk the store is on a file system of 64 MB
(tmpfs, as root), which is full from time to time. Prints its seed and the verdict; exit code 1 when it is not
right, or when the counters disagree with the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arguments import WORKERS, Arguments, Decimal, Number
from events.oracle import Verdict, judge, parse
from processes import free_port

HERE = Path(__file__).parent
PUBLISHERS = 2
THREADS = 8
FAULTS = {"worker": 60, "carrier": 20, "supervisor": 6, "reload": 6, "more": 4, "fewer": 4}
"""Faults by how frequent they are. The first three are kills."""
KILLS = ("worker", "carrier", "supervisor")
STOPPED = 15.0
"""Seconds that a worker is stopped (SIGSTOP): longer than the lease, less than the hang timeout."""
DISK = "64m"
FULL = 1.5
"""Seconds that the disk is full."""
PATIENCE = 120.0
"""Seconds for all events to be settled after the last fault."""


class Chaos:
    """A server, its publishers and its faults.

    :param options: see the module
    :param folder: for the store, the log and the ledger
    """

    def __init__(self, options: Any, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.ledger = folder / "ledger"
        self.port, self.admin = free_port(), free_port()
        self.chance = random.Random(options.seed)
        self.died: set[int] = set()
        self.stopped: set[int] = set()
        self.faults: Counter[str] = Counter()
        self.server: subprocess.Popen[bytes] | None = None

    # --- the server -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server, and return when it is ready."""
        options = self.options
        store = ["--events", "memory"]
        if options.store != "memory":
            store = ["--events", f"sqlite:{self.folder / 'store'}"]
            store += ["--events-sync", "full" if options.store == "full" else "normal"]
        command = [
            *(sys.executable, *options.command.split()),
            *("--app-dir", str(HERE / "servers"), "--workers", str(options.workers), "--port", str(self.port)),
            *("--admin-port", str(self.admin), "--control-socket", str(self.folder / "control")),
            *store,
            *("--events-concurrency", "20", "--reload-probation", "0", "--max-restarts", "1000000"),
            "ledger:app",
        ]
        environ = {
            **os.environ,
            "LEDGER": str(self.ledger),
            "LEDGER_SECONDS": str(options.milliseconds / 1000),
            "LEDGER_FAILURES": "0.02",
        }
        log = (self.folder / "log").open("ab")
        self.server = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        log.close()
        self.until_ready()

    def until_ready(self) -> None:
        """Wait until the server is ready.

        :raises RuntimeError: it has ended
        """
        deadline = time.monotonic() + PATIENCE
        while self.status().get("state") != "ready":
            assert self.server is not None
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server is not ready:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.05)

    def status(self) -> dict[str, Any]:
        """Return the server's status; empty where it does not answer."""
        url = f"http://127.0.0.1:{self.admin}/status.json"
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
        return {}

    def stop(self) -> None:
        """Stop the server, and wait for its end."""
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            try:
                self.server.wait(40)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()

    # --- faults -----------------------------------------------------------------------------------

    def disturb(self) -> None:
        """Do one of the faults, by chance."""
        weights = dict(FAULTS)
        if self.options.store == "memory":
            weights = {name: weight for name, weight in weights.items() if name not in ("carrier", "supervisor")}
        if self.options.small_disk:
            weights["full_disk"] = 10
        (fault,) = self.chance.choices(list(weights), list(weights.values()))
        if getattr(self, f"_{fault}")():
            self.faults[fault] += 1

    def _workers(self) -> list[int]:
        return sorted(worker["pid"] for worker in self.status().get("processes", ()) if worker.get("state") == "ready")

    def _kill(self, pid: int | None) -> bool:
        if pid is None:
            return False
        self.died.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def _worker(self) -> bool:
        workers = self._workers()
        return self._kill(self.chance.choice(workers) if workers else None)

    def _carrier(self) -> bool:
        return self._kill((self.status().get("carrier") or {}).get("pid"))

    def _supervisor(self) -> bool:
        assert self.server is not None
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        self.died.update(map(int, children))
        self.server.kill()
        self.server.wait()
        for pid in children:
            while Path(f"/proc/{pid}").exists():
                time.sleep(0.005)
        self.start()
        return True

    def _signal(self, sig: signal.Signals) -> bool:
        assert self.server is not None
        self.server.send_signal(sig)
        return True

    def _reload(self) -> bool:
        return self._signal(signal.SIGHUP)

    def _more(self) -> bool:
        return len(self._workers()) <= self.options.workers and self._signal(signal.SIGTTIN)

    def _fewer(self) -> bool:
        return len(self._workers()) > self.options.workers and self._signal(signal.SIGTTOU)

    def _full_disk(self) -> bool:
        """Fill the file system of the store, and make room again."""
        ballast = self.folder / "store" / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)
        time.sleep(FULL)
        ballast.unlink()
        return True

    @contextlib.contextmanager
    def disk(self) -> Iterator[None]:
        """Mount the small file system, if it was asked for, while the block runs."""
        if not self.options.small_disk:
            yield
            return
        store = self.folder / "store"
        store.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(store)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(store)], check=True)

    def stop_a_worker(self) -> None:
        """Stop a worker for longer than the lease, and let it go on."""
        workers = self._workers()
        if workers:
            pid = self.chance.choice(workers)
            self.stopped.add(pid)
            self.faults["stopped"] += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(STOPPED)
                os.kill(pid, signal.SIGCONT)

    # --- the run ----------------------------------------------------------------------------------

    def run(self) -> tuple[Verdict, dict[str, Any]]:
        """Publish and disturb; return the verdict, and the last view of the carrier."""
        options = self.options
        self.start()
        publishers = [self._publisher(number) for number in range(PUBLISHERS)]
        while self._is_short(publishers):
            time.sleep(self.chance.uniform(0.5, 1.5) * options.period)
            self.disturb()
        for _ in range(options.stops):
            self.stop_a_worker()
        published: dict[str, int] = {}
        for number, publisher in enumerate(publishers):
            publisher.wait(PATIENCE * 10)
            published |= json.loads((self.folder / f"published{number}").read_text())
        view = self._settled()
        self.stop()
        return judge(parse(self.ledger.read_text()), published, self.died, self.stopped), view

    def _publisher(self, number: int) -> subprocess.Popen[bytes]:
        options = self.options
        command = [
            *(sys.executable, str(HERE / "events" / "publishers.py"), str(self.port), f"p{number}-"),
            *(str(options.seed), str(options.keys // PUBLISHERS), str(options.events // PUBLISHERS)),
            *(str(THREADS), str(options.skew), str(options.kills * options.period)),
        ]
        with (self.folder / f"published{number}").open("wb") as file:
            return subprocess.Popen(command, stdout=file)

    def _is_short(self, publishers: list[subprocess.Popen[bytes]]) -> bool:
        """Whether there are to be more faults."""
        kills = sum(self.faults[name] for name in KILLS)
        return kills < self.options.kills or any(publisher.poll() is None for publisher in publishers)

    def _settled(self) -> dict[str, Any]:
        """Wait until all events are settled; return the view of the carrier."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            view: dict[str, Any] = self.status().get("events") or {}
            if view and view["waiting"] == 0 and not sum(view["in_flight"].values()):
                return view
            time.sleep(0.1)
        raise RuntimeError(f"events are not settled: {view}\n{(self.folder / 'log').read_text()[-3000:]}")


def differences(view: dict[str, Any], verdict: Verdict) -> list[str]:
    """Return where the counters disagree with what was published and written."""
    found = []
    (route,) = [route for route in view["routes"] if route["route"].startswith("entry ")]
    counters = route["counters"]
    if counters["published"].get("stored") != verdict.events:
        found.append(f"published: {counters['published']}, and {verdict.events} were")
    if counters["settled"] != {"ok": verdict.events}:
        found.append(f"settled: {counters['settled']}, and {verdict.events} were handled")
    if view["dead"]:
        found.append(f"dead letters: {view['dead']}")
    return found


def main() -> int:
    """Run it once; return the exit code."""
    parser = Arguments(description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "full", "memory"), default="sqlite")
    parser.add_argument("--events", type=Number(16, 10_000_000), default=100_000)
    parser.add_argument("--kills", type=Number(0, 10_000), default=100)
    parser.add_argument("--keys", type=Number(16, 1_000_000), default=200)
    parser.add_argument("--skew", type=Decimal(0, 3), default=0.0)
    parser.add_argument("--workers", type=WORKERS, default=3)
    parser.add_argument("--seed", type=Number(0, 2**32), default=random.randrange(2**32))
    parser.add_argument("--milliseconds", type=Decimal(0, 1000), default=1.0)
    parser.add_argument("--period", type=Decimal(0.05, 60), default=0.6)
    parser.add_argument("--stops", type=Number(0, 100), default=0)
    parser.add_argument("--small-disk", action="store_true", help="let the disk be full from time to time")
    parser.add_argument("--command", default="-m tiny_listener", help="what Python runs as the server")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="events-chaos-"))
    chaos = Chaos(options, folder)
    with chaos.disk():
        try:
            verdict, view = chaos.run()
        finally:
            chaos.stop()
    faults = ", ".join(f"{count} {name}" for name, count in sorted(chaos.faults.items()))
    print(f"{options.store}: {verdict} ({faults}; {time.monotonic() - started:.0f} s)")
    wrong = differences(view, verdict)
    for line in wrong:
        print(f"  {line}")
    if verdict.is_right and not wrong:
        shutil.rmtree(folder)
        return 0
    print(f"  left in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
