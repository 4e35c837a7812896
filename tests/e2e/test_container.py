"""The command as process 1 of a namespace of its own, as in a container."""

from __future__ import annotations

import contextlib
import http.client
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
def contained(*options: str, app: str = "orphans:app") -> Iterator[tuple[Server, int]]:
    """Run the command in a namespace; yield it and its init, by the number that it has outside."""
    with serving(app, *options, launcher=CONTAINER) as server:
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
        wait_for(lambda: server.log.count("is being replaced: reload") == 2)
        os.kill(init, signal.SIGTTIN)
        wait_for(lambda: "SIGTTIN: scaling from 2 to 3 workers" in server.log)
        os.kill(init, signal.SIGUSR2)
        wait_for(lambda: "Current thread" in server.log)
        os.kill(init, signal.SIGQUIT)
        assert server.process.wait(20) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_init_tells_how_the_server_was_killed(workers: str) -> None:
    with contained("--workers", workers) as (server, init):
        os.kill(children(init)[0], signal.SIGKILL)
        assert server.process.wait(20) == 137


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_in_flight_when_the_container_stops_is_answered(workers: str) -> None:
    with contained("--workers", workers, "--drain-delay", "0.5", app="streams:app") as (server, init):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/waits")
            response = connection.getresponse()
            assert response.readline() == b"begun\n"
            os.kill(init, signal.SIGTERM)  # as a runtime's stop
            wait_for(lambda: server.admin("/readyz")[0] == 503)
            assert server.get("/is-draining") == (200, b"False")  # --drain-delay is not over
            assert response.read() == b"the end\n"
        assert server.process.wait(20) == 0
        assert "Cancelled" not in server.log


def test_a_second_term_does_not_wait() -> None:
    with contained("--workers", "2", "--drain-delay", "600") as (server, init):
        os.kill(init, signal.SIGTERM)
        wait_for(lambda: server.admin("/readyz")[0] == 503)
        os.kill(init, signal.SIGTERM)
        assert server.process.wait(20) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("app", "options", "code"), [
    ("no_such_module:app", (), 1), ("web:app", ("--workers", "none"), 2), ("broken_startup:app", (), 3),
])  # fmt: skip
def test_exit_codes_are_the_containers(workers: str, app: str, options: tuple[str, ...], code: int) -> None:
    with serving(app, "--workers", workers, *options, launcher=CONTAINER, until_ready=False) as server:
        assert server.process.wait(30) == code, server.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_orphan_that_ends_last_does_not_hold_the_container_up(workers: str) -> None:
    with contained("--workers", workers) as (server, init):
        (server_pid,) = children(init)
        server.get("/orphan")
        wait_for(lambda: len(children(init)) == 2)
        (orphan,) = set(children(init)) - {server_pid}
        os.kill(init, signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert not Path(f"/proc/{orphan}").exists()  # the namespace ended, and all that is in it
