"""Children that an application makes by fork keep nothing of the server, and the server notices nothing of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.probes import alive, listening
from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

WAYS = {
    "by_fork": 1,
    "by_fork_of_a_fork": 2,
    "by_multiprocessing": 1,
    "by_a_pool": 1,
    "before_exec": 1,
    "and_tidy_up": 1,
    "and_write": 1,
}
"""Ways to fork, and how many children each makes."""


@contextlib.contextmanager
def children_of(server: Server, count: int) -> Iterator[list[int]]:
    """The children, when they have said so; ended at last."""
    found = wait_for(lambda: (pids := re.findall(r"child (\d+)\n", server.log)) and len(pids) == count and pids)
    assert isinstance(found, list)
    pids = [int(pid) for pid in found]
    try:
        yield pids
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def ask(client: socket.socket) -> bytes:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(4096)
        assert piece, head
        head += piece
    return head.partition(b"\r\n")[0]


def clients_of(server: Server, stack: contextlib.ExitStack, count: int = 6) -> list[socket.socket]:
    clients = []
    for _ in range(count):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        assert ask(client) == b"HTTP/1.1 200 OK"
        clients.append(client)
    return clients


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("how", ["fork", "thread", "task"])
@pytest.mark.parametrize("way", WAYS)
def test_a_child_of_a_handler_keeps_nothing_and_disturbs_nobody(way: str, how: str, workers: str) -> None:
    options = ("--workers", workers, "--graceful-timeout", "3")
    with serving("forks:app", *options) as server, contextlib.ExitStack() as stack:
        clients = clients_of(server, stack)
        assert server.get(f"/{how}/{way}") == (200, b"forked")
        with children_of(server, WAYS[way]) as children:
            # The epoll set of the process that forked still has all of them.
            for _ in range(3):
                assert {ask(client) for client in clients} == {b"HTTP/1.1 200 OK"}
            assert {server.get("/")[0] for _ in range(20)} == {200}
            server.process.send_signal(signal.SIGTERM)
            assert [client.recv(1) for client in clients] == [b""] * len(clients)
            assert server.process.wait(20) == 0
            left = [pid for pid in children if alive(pid)]
            assert left or way == "by_multiprocessing"  # daemons of multiprocessing end with their parent
            assert listening(server.port) == 0
            assert "returned into" not in server.log
            with serving("forks:app", *options, port=server.port) as successor:
                assert successor.get("/")[0] == 200
            for pid in left:
                os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not any(map(alive, left)), what="TERM ends the children")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("when", ["import", "startup"])
def test_a_child_from_before_the_first_request_keeps_nothing_either(when: str, workers: str) -> None:
    env = {"FORK": f"{when}:by_fork"}
    with (
        serving("forks:app", "--workers", workers, env=env) as server,
        contextlib.ExitStack() as stack,
        children_of(server, int(workers)) as children,
    ):
        clients = clients_of(server, stack)
        for pid in children:
            os.kill(pid, signal.SIGTERM)  # of which their parents must hear nothing
        wait_for(lambda: not any(map(alive, children)))
        assert {ask(client) for client in clients} == {b"HTTP/1.1 200 OK"}
        assert server.is_ready()
        assert server.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_signal_to_a_child_is_no_signal_to_its_parent(sig: int, workers: str) -> None:
    with serving("forks:app", "--workers", workers) as server:
        before = server.workers() if workers == "2" else []
        assert server.get("/fork/by_fork")[0] == 200
        with children_of(server, 1) as (child,):
            os.kill(child, sig)
            if sig == signal.SIGTERM or (workers == "1" and sig == signal.SIGINT):
                wait_for(lambda: not alive(child))
            assert {server.get("/")[0] for _ in range(20)} == {200}
            assert server.is_ready()
            assert workers == "1" or server.workers() == before
            assert "draining" not in server.log
            assert "stacks" not in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_child_that_comes_back_into_the_loop_ends_and_says_so(workers: str) -> None:
    with serving("forks:app", "--workers", workers) as server, contextlib.ExitStack() as stack:
        clients = clients_of(server, stack)
        assert server.get("/returns") == (200, b"1")
        assert "returned into the event loop" in server.log
        assert server.get("/exits") == (200, b"ended")
        assert {ask(client) for client in clients} == {b"HTTP/1.1 200 OK"}
        assert server.get("/own") == (200, b"from the child")
        assert server.stop() == 0


def test_a_unix_socket_and_its_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("uds") / "web.sock"
    with serving("forks:app", "--uds", str(path), pass_port=False) as server, contextlib.ExitStack() as stack:
        clients = []
        for _ in range(3):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(20)
            client.connect(str(path))
            assert ask(client) == b"HTTP/1.1 200 OK"
            clients.append(client)
        clients[0].sendall(b"GET /fork/and_tidy_up HTTP/1.1\r\nHost: x\r\n\r\n")
        with children_of(server, 1) as children:
            assert path.exists()
            assert {ask(client) for client in clients[1:]} == {b"HTTP/1.1 200 OK"}
            server.process.send_signal(signal.SIGTERM)
            assert [client.recv(4096)[-1:] for client in clients[1:]] == [b"", b""]
            assert server.process.wait(20) == 0
            assert alive(children[0])
            assert not path.exists()
