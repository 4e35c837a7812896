"""Reloads leave nothing behind in the supervisor."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

RELOADS = 25
MAY_GROW = 2 * 2**20
"""Bytes: the allocator takes and gives back so much."""


def belongings(server: Server) -> tuple[int, int, int]:
    """Return the supervisor's open files, its mappings of shared memory, and the segments in /dev/shm."""
    pid = server.process.pid
    shared = Path(f"/proc/{pid}/maps").read_text().count("/dev/zero")
    return len(os.listdir(f"/proc/{pid}/fd")), shared, len(os.listdir("/dev/shm"))


def resident(server: Server) -> int:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def reload(server: Server) -> None:
    before = set(server.workers())
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(server.workers()) == 2 and not before & set(server.workers()))


def test_many_reloads_leave_no_files_memory_or_processes_behind() -> None:
    with serving("web:app", "--workers", "2") as server:
        for _ in range(3):
            reload(server)
        server.samples()
        before, memory = belongings(server), resident(server)
        for _ in range(RELOADS):
            reload(server)
        server.samples()
        assert belongings(server) == before
        assert resident(server) - memory < MAY_GROW
        assert len(server.workers()) == 2
        assert server.total("tiny_listener_reloads_total", outcome="done") == RELOADS + 3
