"""The length of accept queues, as the kernel tells it and as Prometheus sees it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from tiny_listener_supervisor.ipc.accept_depth import queue_depth
from tiny_listener_supervisor.ipc.broker import SocketBroker
from tiny_listener_supervisor.ipc.messages import Address

from tests.server import serving
from tests.waiting import wait_for


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_the_queue_of_a_listening_socket(family: socket.AddressFamily, tmp_path: Path) -> None:
    place = (
        str(tmp_path / "s") if family == socket.AF_UNIX else ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0)
    )
    with socket.socket(family) as server:
        server.bind(place)
        server.listen(8)
        assert queue_depth(server.fileno()) == 0
        clients = [socket.socket(family) for _ in range(3)]
        for client in clients:
            client.connect(server.getsockname())
        wait_for(lambda: queue_depth(server.fileno()) == 3)
        server.accept()[0].close()
        assert queue_depth(server.fileno()) == 2
        for client in clients:
            client.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_datagrams_are_no_connections(family: socket.AddressFamily, tmp_path: Path) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as server, socket.socket(family, socket.SOCK_DGRAM) as client:
        server.bind(str(tmp_path / "s") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        client.sendto(b"waits", server.getsockname())
        assert queue_depth(server.fileno()) is None


def test_what_has_no_queue() -> None:
    reading, writing = os.pipe()
    assert queue_depth(reading) is None
    os.close(reading)
    os.close(writing)
    assert queue_depth(reading) is None


def test_the_broker_adds_up_by_slot(tmp_path: Path) -> None:
    broker = SocketBroker()
    place = Address(socket.AF_INET, "127.0.0.1", 0, 8)
    for slot in (0, 1):
        broker.acquire(slot, place).listen(8)
    unix = broker.acquire(0, Address(socket.AF_UNIX, str(tmp_path / "s"), 0, 8))
    other = broker.acquire(1, Address(socket.AF_INET, "127.0.0.1", 0, 8, 1))
    other.listen(8)
    assert broker.queues() == {"0": 0, "1": 0, "shared": 0}
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as local:
        tcp.connect(other.getsockname())
        local.connect(unix.getsockname())
        wait_for(lambda: broker.queues() == {"0": 0, "1": 1, "shared": 1})
    broker.close()


@pytest.mark.e2e
@pytest.mark.parametrize("workers", ["1", "2"])
def test_prometheus_sees_the_queue(workers: str) -> None:
    name = "tiny_listener_accept_queue"
    with serving("web:app", "--workers", workers, "--backlog", "7") as server:
        slots = {(("worker", str(slot)),) for slot in range(int(workers))}
        assert {labels for n, labels in server.samples() if n == name} == slots
        if workers == "2":
            stopped = server.workers()
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
            wait_for(lambda: server.total(name) == 6)
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            wait_for(lambda: server.total(name) == 0)
            for client in clients:
                client.close()


@pytest.mark.e2e
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_queue_of_a_unix_socket_is_shared(workers: str, tmp_path: Path) -> None:
    with serving("web:app", "--workers", workers, "--uds", str(tmp_path / "s"), pass_port=False) as server:
        labels = {labels for name, labels in server.samples() if name == "tiny_listener_accept_queue"}
        assert labels == {(("worker", "shared"),)}


@pytest.mark.e2e
@pytest.mark.needs("ss")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_the_backlog_is_as_asked(workers: str, unix: bool, tmp_path: Path) -> None:
    place = ["--uds", str(tmp_path / "s")] if unix else []
    with serving("web:app", "--workers", workers, "--backlog", "7", *place, pass_port=not unix) as server:
        seen = ["-lxH", f"src = {tmp_path}/s"] if unix else ["-ltnH", f"sport = :{server.port}"]
        lines = subprocess.run(["ss", *seen], capture_output=True, text=True, check=True).stdout.splitlines()
        sizes = [line.split()[3 if unix else 2] for line in lines]
        assert sizes == ["7"] * (1 if unix else int(workers))
