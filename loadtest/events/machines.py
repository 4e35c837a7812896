"""A server under test, as events_chaos.py starts, disturbs and stops it. On NATS there are several."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from processes import free_port

__all__ = ["PATIENCE", "Machine"]

SERVERS = Path(__file__).parent.parent / "servers"
PATIENCE = 120.0
"""Seconds for a server to become ready, and for all events to be settled after the last fault."""
STOPPED = 15.0
"""Seconds that a process is stopped (SIGSTOP): longer than the lease, less than the hang timeout."""


class Machine:
    """A server, as on a machine of its own.

    :param options: see events_chaos.py
    :param folder: for its log and its control socket
    :param store: the options of its store
    :param chance: chooses among its processes
    :ivar died: the processes that were killed
    :ivar stopped: processes whose events others may have taken over while they were stopped
    """

    def __init__(
        self, options: Any, folder: Path, ledger: Path, store: Sequence[str], *, chance: random.Random
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.options = options
        self.folder = folder
        self.log = folder / "log"
        self.port, self.admin = free_port(), free_port()
        self.died: set[int] = set()
        self.stopped: set[int] = set()
        self._ledger = ledger
        self._store = store
        self._chance = chance
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and return when it is ready.

        :raises RuntimeError: it has ended
        """
        options = self.options
        command = [
            *(sys.executable, *options.command.split()),
            *("--app-dir", str(SERVERS), "--workers", str(options.workers), "--port", str(self.port)),
            *("--admin-port", str(self.admin), "--control-socket", str(self.folder / "control")),
            *self._store,
            *("--events-concurrency", "20", "--reload-probation", "0", "--max-restarts", "1000000"),
            "ledger:app",
        ]
        environ = {
            **os.environ,
            "LEDGER": str(self._ledger),
            "LEDGER_SECONDS": str(options.milliseconds / 1000),
            "LEDGER_FAILURES": "0.02",
        }
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while self.status().get("state") != "ready":
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server is not ready:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def status(self) -> dict[str, Any]:
        """Return the server's status; empty where it does not answer."""
        url = f"http://127.0.0.1:{self.admin}/status.json"
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
        return {}

    def view(self) -> dict[str, Any]:
        """Return what the carrier says of events; empty where it does not."""
        return self.status().get("events") or {}

    def is_idle(self) -> bool:
        """Whether no event waits here, or is in flight."""
        view = self.view()
        return bool(view) and view["waiting"] == 0 and not sum(view["in_flight"].values())

    def stop(self) -> None:
        """Stop the server, and wait for its end."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(40)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()

    # --- faults, each of which returns whether it was done ----------------------------------------

    def workers(self) -> list[int]:
        """Return the workers that are ready."""
        return sorted(worker["pid"] for worker in self.status().get("processes", ()) if worker.get("state") == "ready")

    def _kill(self, pid: int | None) -> bool:
        if pid is None:
            return False
        self.died.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def worker(self) -> bool:
        """Kill a worker."""
        workers = self.workers()
        return self._kill(self._chance.choice(workers) if workers else None)

    def _carrier_pid(self) -> int | None:
        pid: int | None = (self.status().get("carrier") or {}).get("pid")
        return pid

    def carrier(self) -> bool:
        """Kill the carrier."""
        return self._kill(self._carrier_pid())

    def supervisor(self) -> bool:
        """Kill the supervisor, with which all end, and start the server again."""
        assert self._server is not None
        children = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text().split()
        self.died.update(map(int, children))
        self._server.kill()
        self._server.wait()
        for pid in children:
            while Path(f"/proc/{pid}").exists():
                time.sleep(0.005)
        self.start()
        return True

    def _signal(self, sig: signal.Signals) -> bool:
        assert self._server is not None
        self._server.send_signal(sig)
        return True

    def reload(self) -> bool:
        """Replace all workers."""
        return self._signal(signal.SIGHUP)

    def more(self) -> bool:
        """Add a worker, unless there is one more already."""
        return len(self.workers()) <= self.options.workers and self._signal(signal.SIGTTIN)

    def fewer(self) -> bool:
        """Take that one away."""
        return len(self.workers()) > self.options.workers and self._signal(signal.SIGTTOU)

    def stop_a_worker(self) -> bool:
        """Stop a worker for longer than the lease, and let it go on."""
        workers = self.workers()
        if not workers:
            return False
        pid = self._chance.choice(workers)
        self.stopped.add(pid)
        self._pause(pid)
        return True

    def stop_the_carrier(self) -> bool:
        """Stop the carrier for longer than the lease: what its workers had in flight, others start again."""
        pid = self._carrier_pid()
        if pid is None:
            return False
        self.stopped.update(self.workers())
        self._pause(pid)
        return True

    @staticmethod
    def _pause(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED)
            os.kill(pid, signal.SIGCONT)
