"""What the metrics' page says of processes that live, hang, die and are replaced."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from pathlib import Path

import pytest

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def send(server: Server, path: str) -> socket.socket:
    """Ask for something, and leave the connection open."""
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_and_events_in_progress(version: Path, workers: int) -> None:
    with serving("changing:app", "--workers", str(workers), env={"VERSION_FILE": str(version)}) as server:
        assert server.total("tiny_listener_connections") == 0
        clients = [send(server, path) for path in ("/", "/wait", "/wait")]
        wait_for(lambda: server.total("tiny_listener_connections") == 3)
        wait_for(lambda: server.total("tiny_listener_events_in_progress") == 2)
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()  # with a reset: one that only ends its side may still wait for its answer
        wait_for(lambda: server.total("tiny_listener_connections") == 0)
        who = ["supervisor", "0", "1"] if workers == 2 else ["0"]
        samples = server.samples()
        for name in (
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_start_time_seconds",
            "process_open_fds",
            "process_max_fds",
        ):
            assert {dict(pairs)["worker"] for (one, pairs) in samples if one == name} == set(who), name
        assert server.total("process_resident_memory_bytes", worker="0") > 10 * 2**20
        assert server.total("process_open_fds", worker="0") > 5


def test_a_blocked_loop_is_late_while_it_is_blocked(version: Path) -> None:
    options = ("--workers", "2", "--hang-timeout", "0")
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server, send(server, "/block"):
        wait_for(lambda: server.total("tiny_listener_event_loop_lag_seconds") > 1)
        lags = {n: server.total("tiny_listener_event_loop_lag_seconds", worker=n) for n in ("0", "1")}
        assert sorted(lag > 0.9 for lag in lags.values()) == [False, True], lags


def test_the_lag_of_the_supervisors_own_loop(version: Path) -> None:
    name = "tiny_listener_supervisor_event_loop_lag_seconds"
    with serving("changing:app", "--workers", "2", env={"VERSION_FILE": str(version)}) as server:
        assert [pairs for one, pairs in server.samples() if one == name] == [()]
        server.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        wait_for(lambda: time.monotonic() > stopped + 1.5)
        server.process.send_signal(signal.SIGCONT)
        wait_for(lambda: server.total(name) > 1.3)
    with serving("changing:app", env={"VERSION_FILE": str(version)}) as server:
        assert name not in {one for one, _ in server.samples()}


def test_workers_by_state_and_restarts_by_reason(version: Path) -> None:
    options = ("--workers", "2", "--hang-timeout", "1", "--max-requests", "200")

    def restarts(reason: str) -> float:
        return server.total("tiny_listener_worker_restarts_total", reason=reason)

    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        assert server.total("tiny_listener_workers", state="ready") == 2
        assert server.total("tiny_listener_workers") == 2
        assert server.total("tiny_listener_worker_restarts_total") == 0
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_for(lambda: restarts("signal") == 1 and server.is_ready())
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: restarts("reload") == 2 and server.is_ready())
        with send(server, "/block"):
            wait_for(lambda: restarts("hang") == 1 and server.is_ready())
        while not restarts("recycle"):
            assert server.get("/")[0] == 200
        wait_for(lambda: server.total("tiny_listener_workers", state="ready") == 2)
        assert {restarts(reason) for reason in ("exit", "boot_timeout", "line")} == {0}
