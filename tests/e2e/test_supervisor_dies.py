"""The supervisor is killed: nothing of it stays, whatever its workers were doing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.e2e.probes import alive, listening
from tests.server import serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    file = tmp_path / "gate"
    file.touch()
    return file


def test_a_worker_that_is_blocked_in_a_handler_goes_too(gate: Path) -> None:
    with serving("hands_over:app", "--workers", "2", env={"GATE": str(gate)}) as server:
        workers = server.workers()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: "blocked" in server.log)
            server.process.kill()
            server.process.wait()
            wait_for(lambda: not any(map(alive, workers)) and listening(server.port) == 0, 2)


def test_a_worker_that_boots_goes_too(gate: Path) -> None:
    gate.unlink()
    with serving("hands_over:app", "--workers", "2", env={"GATE": str(gate)}, until_ready=False) as server:
        wait_for(lambda: len(server.workers()) == 2)
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(map(alive, workers)), 2)


def test_the_next_server_takes_the_path_of_a_unix_socket_over(gate: Path, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    options = ("--workers", "2", "--uds", str(path))
    with serving("hands_over:app", *options, env={"GATE": str(gate)}, pass_port=False) as server:
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(map(alive, workers)), 2)
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
            client.connect(str(path))
    with serving("hands_over:app", *options, env={"GATE": str(gate)}, pass_port=False) as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        assert server.stop() == 0
    assert not path.exists()
