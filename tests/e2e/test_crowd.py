"""The admin endpoint under those who hold connections to it, and have no token."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tiny_listener_supervisor import Admin
from tiny_listener_supervisor.admin.crowd import (
    CROWD_SETTINGS,
    MAX_CONNECTIONS,
    RESERVED_FDS,
    count_descriptors,
    first_to_go,
    room,
)

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

LIMIT = 64
"""File descriptors that the server may have."""
BEGINNINGS = (b"", b"GET /metrics HTTP/1.1\r\nHost: ", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
"""What those who hold a connection send: nothing, half a head, or a request whose answer they do not read."""


@contextlib.contextmanager
def crowd(server: Server, count: int = 120) -> Iterator[list[int]]:
    """Hold as many connections as there are to be had while the block runs; how many were lost and opened again."""
    held: list[socket.socket] = []
    lost, ended = [0], threading.Event()

    def hold() -> None:
        while not ended.wait(0.005):
            for client in list(held):
                with contextlib.suppress(BlockingIOError):
                    if not _reads(client):
                        held.remove(client)
                        client.close()
                        lost[0] += 1
            while len(held) < count and not ended.is_set():
                client = socket.socket()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                client.settimeout(0.2)
                with contextlib.suppress(OSError):
                    client.connect(("127.0.0.1", server.admin_port))
                    client.sendall(BEGINNINGS[len(held) % len(BEGINNINGS)])
                client.setblocking(False)  # noqa: FBT003
                held.append(client)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        wait_for(lambda: len(held) == count and lost[0] > 20)
        yield lost
    finally:
        ended.set()
        holder.join()
        for client in held:
            client.close()


def _reads(client: socket.socket) -> bool:
    try:
        return bool(client.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        raise
    except OSError:
        return False


def descriptors(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@pytest.mark.parametrize("workers", [1, 2])
def test_who_holds_connections_keeps_neither_workers_nor_clients_away(workers: int) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))

    options = ("--workers", str(workers), "--admin-token", "secret")
    with serving("web:app", *options, preexec_fn=limit) as server, crowd(server) as lost:
        for _ in range(5):
            before = lost[0]
            wait_for(server.is_ready, seconds=5)  # of so few places another may take ours, once or twice
            assert descriptors(server) <= LIMIT - 12  # what comes within one loop iteration included
            wait_for(lambda before=before: lost[0] > before)  # type: ignore[misc]
        if workers > 1:
            old = server.workers()
            os.kill(old[0], signal.SIGKILL)
            wait_for(lambda: len(server.workers()) == 2 and old[0] not in server.workers(), seconds=5)
            wait_for(server.is_ready)
        assert server.get("/user/Bob")[0] == 200
        assert "cannot be forked" not in server.log
        assert "file descriptors are in use" not in server.log


async def _started(**limits: float) -> Admin:
    admin = Admin(None, "127.0.0.1", 0, required=True, token="secret")
    admin.listener.configure(**limits)
    watched: Any = None
    await admin.start(watched)
    return admin


def _connect(admin: Admin) -> socket.socket:
    listening: Any = admin.listener.http.listening
    return socket.create_connection(listening.sockets[0].getsockname(), timeout=20)


def test_who_does_nothing_is_closed_in_time(runner: asyncio.Runner) -> None:
    async def hold() -> list[bytes]:
        admin = await _started(keep_alive_timeout=0.2, header_timeout=0.2, linger_timeout=0.2)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(_connect(admin)) for _ in BEGINNINGS[:2]]
            for client, sent in zip(clients, BEGINNINGS, strict=False):
                client.sendall(sent)
            ends = [await asyncio.to_thread(client.recv, 12) for client in clients]
        admin.stop()
        return ends

    assert runner.run(hold()) == [b"", b"HTTP/1.1 408"]
    times = CROWD_SETTINGS
    assert max(times.keep_alive_timeout, times.header_timeout, times.body_timeout, times.write_timeout) <= 10


def test_the_longest_idle_one_makes_room(runner: asyncio.Runner) -> None:
    async def come() -> None:
        admin = await _started()
        server = admin.listener.http.server
        assert server is not None
        with contextlib.ExitStack() as stack:
            clients = []
            for count in range(1, MAX_CONNECTIONS + 4):
                clients.append(stack.enter_context(_connect(admin)))
                while len(server.connections) < min(count, MAX_CONNECTIONS):
                    await asyncio.sleep(0)
            assert [await asyncio.to_thread(client.recv, 1) for client in clients[:3]] == [b""] * 3
            assert len(server.connections) == MAX_CONNECTIONS
            clients[-1].sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await asyncio.to_thread(clients[-1].recv, 15)) == b"HTTP/1.1 200 OK"
        admin.stop()

    runner.run(come())


@pytest.mark.parametrize(
    ("clients", "first"),
    [
        ([(False, 1.0)], 0),
        ([(False, 2.0), (False, 1.0)], 1),
        ([(True, 1.0), (False, 2.0)], 1),
        ([(True, 2.0), (True, 1.0)], 1),
        ([(False, 1.0), (False, 1.0)], 0),
    ],
)
def test_who_makes_room(clients: list[tuple[bool, float]], first: int) -> None:
    assert first_to_go(clients) == first


@pytest.mark.parametrize(
    ("limit", "others", "places"),
    [(1024, 20, MAX_CONNECTIONS), (1024, 1024 - RESERVED_FDS - MAX_CONNECTIONS, MAX_CONNECTIONS),
     (1024, 1024 - RESERVED_FDS - MAX_CONNECTIONS + 1, MAX_CONNECTIONS - 1),
     (64, 20, 12), (40, 12, 8), (40, 30, 1), (1024, 1020, 1), (2**30 - 1, 100_000, MAX_CONNECTIONS)],
)  # fmt: skip
def test_how_many_there_may_be(limit: int, others: int, places: int) -> None:
    assert room(limit, others) == places


def test_descriptors_are_counted() -> None:
    before = count_descriptors()
    with socket.socket():
        assert count_descriptors() == before + 1
    assert before == len(os.listdir("/proc/self/fd")) - 1  # the one that lists
