"""A server with something of everything that is measured, and what Prometheus' configuration in deploy/ names."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from tests.server import ROOT, Server, serving
from tests.waiting import wait_for

__all__ = ["PROMETHEUS", "busy_server", "hit", "rules", "samples_of"]

PROMETHEUS = ROOT / "deploy" / "prometheus"


def rules(name: str) -> list[dict[str, Any]]:
    """Return all rules of a file in deploy/prometheus/rules."""
    groups = yaml.safe_load((PROMETHEUS / "rules" / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def hit(server: Server) -> None:
    """Send what ends well, what fails, and what no route serves."""
    for _ in range(4):
        assert server.get("/user/Bob")[0] == 200
    assert server.get("/fail")[0] == 500
    assert server.get("/handled")[0] == 418
    assert server.get("/echo", method="POST", body=b"x" * 1000)[0] == 200
    assert server.get("/nowhere")[0] == 404
    for what in ("something", "nothing"):
        assert server.get(f"/note/{what}", method="POST")[0] == 200


@contextmanager
def busy_server() -> Iterator[Server]:
    """Run two workers, one of which was killed, and both of which were reloaded."""
    with serving("busy:app", "--workers", "2", "--events", "memory") as server:
        hit(server)
        processes = json.loads(server.admin("/status.json")[1])["processes"]
        os.kill(processes[0]["pid"], signal.SIGKILL)
        wait_for(lambda: server.total("tiny_listener_worker_restarts_total", reason="signal") == 1)
        wait_for(server.is_ready)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.total("tiny_listener_reloads_total", outcome="done") == 1)
        wait_for(server.is_ready)
        hit(server)
        yield server


def samples_of(server: Server) -> dict[str, list[Mapping[str, str]]]:
    """Scrape: of each metric's name the labels of its samples."""
    found: dict[str, list[Mapping[str, str]]] = {"up": [{}]}  # Prometheus makes that one itself
    for name, labels in server.samples():
        found.setdefault(name, []).append(dict(labels))
    return found
