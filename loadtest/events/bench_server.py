"""A server whose application publishes events, for bench_events.py."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from processes import free_port

__all__ = ["CLIENTS", "KEYS", "STORES", "Server", "folder", "routes", "share"]

SERVERS = Path(__file__).parent.parent / "servers"
STORES = {
    "memory": ["--events", "memory"],
    "normal": ["--events", "sqlite:{}", "--events-sync", "normal"],
    "full": ["--events", "sqlite:{}", "--events-sync", "full"],
}
CLIENTS = 4
KEYS = 1000
PATIENCE = 120.0


class Server:
    """A server with a carrier.

    :param store: one of `STORES`
    :param folder: for its store and what it leaves
    """

    def __init__(self, store: str, folder: Path, *options: str, workers: int = 4, app: str = "carried:app") -> None:
        self.port, self.admin = free_port(), free_port()
        self.folder = folder
        self.command = [
            *(sys.executable, "-m", "tiny_listener", "--app-dir", str(SERVERS), "--workers", str(workers)),
            *("--port", str(self.port), "--admin-port", str(self.admin), "--control-socket", str(folder / "control")),
            *(part.format(folder / "store") for part in STORES.get(store, [])),
            *(("--events-max", "10000000", "--events-max-bytes", "8000000000") if store else ()),
            *options,
            app,
        ]

    def __enter__(self) -> Self:
        delays = self.folder / "delays"
        delays.mkdir(exist_ok=True)
        environ = {**os.environ, "DELAYS": str(delays)}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, env=environ, stdout=log, stderr=log)
        self.wait(lambda status: status.get("state") == "ready")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def status(self) -> dict[str, Any]:
        """Return its status; empty where it does not answer."""
        url = f"http://127.0.0.1:{self.admin}/status.json"
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
        return {}

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a condition of its status, and return that.

        :raises RuntimeError: it does not come true
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            if condition(status := self.status()):
                return status
            time.sleep(0.05)  # each look costs the carrier some time
        raise RuntimeError(f"the server does not do what it should:\n{(self.folder / 'log').read_text()[-2000:]}")

    def settled(self, events: int) -> None:
        """Wait until so many events are settled in all."""
        self.wait(lambda status: sum(route["counters"]["settled"].get("ok", 0) for route in routes(status)) >= events)

    def post(self, path: str) -> None:
        """Send a request."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            answer.read()

    def burst(self, events: int, batch: int) -> None:
        """Publish events, from several clients at the same time."""
        share = events // CLIENTS
        paths = [f"/burst/{number * share}/{share}/{batch}?keys={KEYS}" for number in range(CLIENTS)]
        clients = [threading.Thread(target=self.post, args=(path,)) for path in paths]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    def pids(self) -> tuple[int, list[int]]:
        """Return the carrier's process id, and those of the workers."""
        status = self.wait(lambda status: bool(status.get("carrier")))
        return status["carrier"]["pid"], [process["pid"] for process in status["processes"]]

    def delays(self) -> list[float]:
        """Return the seconds that each event has waited; call it after the server's end."""
        found = array("d")
        for file in (self.folder / "delays").iterdir():
            found.frombytes(file.read_bytes())
        return sorted(found)


def routes(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a status says of the routes of published events."""
    return (status.get("events") or {}).get("routes") or []


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make a folder for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="bench-events-") as path:
        yield Path(path)


def share(values: list[float], part: float) -> float:
    """Return a quantile of sorted values."""
    return values[min(len(values) - 1, int(part * len(values)))] if values else float("nan")
