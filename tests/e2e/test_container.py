"""The command as process 1 of a namespace of its own, as in a container."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.needs("unshare")]

CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.fixture(autouse=True)
def _permitted() -> None:
    if subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a namespace of processes (unshare --pid)")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def contained(*options: str) -> Iterator[tuple[Server, int]]:
    """Run the command in a namespace; yield it and its init, by the number that it has outside."""
    with serving("orphans:app", *options, launcher=CONTAINER) as server:
        (init,) = children(server.process.pid)
        try:
            yield server, init
        finally:
            if server.process.poll() is None:
                os.kill(init, signal.SIGKILL)
                server.process.wait()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_orphans_are_reaped_and_children_are_not(workers: str) -> None:
    with contained("--workers", workers) as (server, init):
        (server_pid,) = children(init)
        inside = [int(server.get("/orphan")[1]) for _ in range(3)]
        wait_for(lambda: len(children(init)) == 4)
        for pid in inside:
            server.get(f"/kill/{pid}")
        wait_for(lambda: children(init) == [server_pid])  # a zombie would still be one of them
        assert [server.get(f"/child/{code}")[1] for code in (0, 7)] == [b"0", b"7"]
        os.kill(init, signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_signals_are_handed_on() -> None:
    with contained("--workers", "2") as (server, init):
        os.kill(init, signal.SIGHUP)
        wait_for(lambda: "SIGHUP: reloading 2 workers" in server.log)
        wait_for(lambda: server.log.count("gets a successor: reload") == 2)
        os.kill(init, signal.SIGTTIN)
        wait_for(lambda: "SIGTTIN: 3 workers in place of 2" in server.log)
        os.kill(init, signal.SIGUSR2)
        wait_for(lambda: "Current thread" in server.log)
        os.kill(init, signal.SIGQUIT)
        assert server.process.wait(20) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_init_tells_how_the_server_was_killed(workers: str) -> None:
    with contained("--workers", workers) as (server, init):
        os.kill(children(init)[0], signal.SIGKILL)
        assert server.process.wait(20) == 137
