"""Sockets with one queue for all workers, a unix socket and one that was open before: nothing is lost there either."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CLIENTS = 6


class Place(NamedTuple):
    """Where the server listens.

    :ivar options: of the command
    :ivar fds: file descriptors that it gets
    :ivar connect: returns a new connection
    """

    options: list[str]
    fds: list[int]
    connect: Callable[[], socket.socket]


@contextlib.contextmanager
def load(connect: Callable[[], socket.socket]) -> Iterator[Counter[str]]:
    """Clients that open a new connection for each request while the block runs; the outcome of each request."""
    outcomes: Counter[str] = Counter()
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                with connect() as sock:
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    answer = b"".join(iter(lambda: sock.recv(4096), b""))
                outcome = "whole" if answer.endswith(b"Welcome!") else "cut" if answer else "closed"
            except OSError as exc:
                outcome = type(exc).__name__
            outcomes[outcome] += 1

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: outcomes["whole"] > 50)
        yield outcomes
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture(params=["unix", "fd"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The command's options, the file descriptors that it gets, and how to connect."""
    if request.param == "unix":
        path = str(tmp_path / "web.sock")

        def connect_unix() -> socket.socket:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(20)
            try:
                sock.connect(path)
            except BaseException:
                sock.close()
                raise
            return sock

        yield Place(["--uds", path], [], connect_unix)
        return
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        port = listening.getsockname()[1]
        fd = listening.fileno()
        yield Place(["--fd", str(fd)], [fd], lambda: socket.create_connection(("127.0.0.1", port), 20))


@contextlib.contextmanager
def serving_at(place: Place) -> Iterator[tuple[Server, Counter[str]]]:
    """A server of three workers at the place, and its clients."""
    with (
        serving("web:app", "--workers", "3", *place.options, pass_port=False, pass_fds=place.fds) as server,
        load(place.connect) as outcomes,
    ):
        yield server, outcomes


def test_a_reload_and_fewer_workers_lose_nothing(place: Place) -> None:
    with serving_at(place) as (server, outcomes):
        for _ in range(3):
            before = set(server.workers())
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda before=before: server.is_ready() and not before & set(server.workers()))  # type: ignore[misc]
        server.process.send_signal(signal.SIGTTOU)
        wait_for(lambda: len(server.workers()) == 2)
        seen = outcomes["whole"]
        wait_for(lambda: outcomes["whole"] > seen + 200)
    assert set(outcomes) == {"whole"}, outcomes


def test_a_killed_worker_loses_no_more_than_it_has_in_flight(
    place: Place,
) -> None:
    kills = 4
    with serving_at(place) as (server, outcomes):
        for _ in range(kills):
            victim = server.workers()[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda victim=victim: victim not in server.workers() and server.is_ready())  # type: ignore[misc]
        seen = outcomes["whole"]
        wait_for(lambda: outcomes["whole"] > seen + 200)
    lost = outcomes.total() - outcomes["whole"]
    assert lost <= kills * CLIENTS, outcomes
    assert not outcomes["ConnectionRefusedError"] + outcomes["TimeoutError"], outcomes


def test_a_file_that_was_taken_away_is_bound_again_by_a_reload(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    place = ["--uds", str(path)]

    def answer() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: client.recv(4096), b""))

    def reload(server: Server) -> None:
        known = json.loads(server.admin("/status.json")[1])["version"]
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: ended(server, known + 1))

    def ended(server: Server, version: int) -> bool:
        last = json.loads(server.admin("/status.json")[1])["reload"]
        return last is not None and last["version"] == version and last["state"] != "running"

    with serving("web:app", "--workers", "2", *place, pass_port=False) as server:
        (name,) = json.loads(server.admin("/status.json")[1])["addresses"]
        assert name == f"unix:{path}"
        path.unlink()
        (name,) = json.loads(server.admin("/status.json")[1])["addresses"]
        assert name == f"unix:{path} (its file is gone)"
        reload(server)
        assert f"The file of unix:{path} was removed or replaced: binding it again" in server.log
        assert answer().endswith(b"Welcome!")
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            reload(server)
            assert f"cannot listen on {path}: a server already listens there" in server.log
            assert server.is_ready()
        reload(server)  # over the file of the other, which is dead
        assert answer().endswith(b"Welcome!")
        assert server.stop() == 0
        assert not path.exists()
