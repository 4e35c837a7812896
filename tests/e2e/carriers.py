"""Servers whose carrier of events is a fake: see `tests/with_fake_events.py`."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.server import ROOT, Server, serving
from tests.waiting import wait_for

FAKE = (sys.executable, str(ROOT / "tests" / "with_fake_events.py"))
CTL = [sys.executable, "-m", "tiny_listener.cli.ctl"]


class Carried:
    """A server whose carrier is a fake."""

    def __init__(self, server: Server, noted: Path, failure: Path, socket: str) -> None:
        self.server = server
        self.failure = failure
        self._noted = noted
        self._socket = socket

    @property
    def noted(self) -> list[str]:
        return self._noted.read_text().splitlines() if self._noted.exists() else []

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.server.admin("/status.json")[1])
        return found

    def pid(self) -> int:
        """Return the pid of the carrier, once it is ready."""

        def ready() -> int | None:
            carrier = self.status()["carrier"]
            return carrier["pid"] if carrier and carrier["state"] == "ready" else None

        return wait_for(ready, what="the carrier is ready") or 0

    def ctl(self, *args: str) -> subprocess.CompletedProcess[str]:
        call = [*CTL, "--socket", self._socket, *args]
        return subprocess.run(call, capture_output=True, text=True, timeout=30, check=False)

    def heard_by_all(self, text: str, workers: int = 2) -> bool:
        """Whether each worker's last link is that of a carrier with this pid."""
        return sum(line == f"attach {slot}" for line in self.since(text) for slot in range(workers)) >= workers

    def since(self, pid: str) -> list[str]:
        lines = self.noted
        starts = [at for at, line in enumerate(lines) if line.startswith(f"start {pid} ")]
        return lines[starts[-1] + 1 :] if starts else []


@contextlib.contextmanager
def carried(tmp_path: Path, *options: str, workers: int = 2, env: dict[str, str] | None = None) -> Iterator[Carried]:
    noted, failure, socket = tmp_path / "noted", tmp_path / "failure", str(tmp_path / "control")
    state = {"FAKE_LOG": str(noted), "FAKE_FAILURE": str(failure), "XDG_STATE_HOME": str(tmp_path / "state")}
    with serving(
        "carried:app", "--workers", str(workers), "--control-socket", socket, *options,
        launcher=FAKE, env={**state, "STATE_DIRECTORY": "", **(env or {})},
    ) as server:  # fmt: skip
        yield Carried(server, noted, failure, socket)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
