"""What tests of real processes look at, and clients that ask meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.server import Server
from tests.waiting import wait_for

LATE = 4.0
"""Seconds more that a busy machine may take, far less than what hangs does and than the patience of `PATIENT`."""
PATIENT = ("--graceful-timeout", "600")
"""Where an end does not wait for it."""


def alive(pid: int) -> bool:
    """Whether a process runs: it exists, and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def listening(port: int) -> int:
    """Return how many sockets listen at a port."""
    out = subprocess.run(["ss", "-ltnH", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    return out.count("LISTEN")


def established(port: int) -> int:
    """Return how many connections clients have to a port."""
    out = subprocess.run(
        ["ss", "-tnH", "state", "established", f"sport = :{port}"], capture_output=True, text=True, check=True
    )
    return len(out.stdout.splitlines())


def holders(port: int) -> Counter[int]:
    """Return how many connections each process has accepted at a port."""
    rows = subprocess.run(
        ["ss", "-tnpH", "state", "established", f"sport = :{port}"], capture_output=True, text=True, check=True
    )
    return Counter(int(pid) for pid in re.findall(r"pid=(\d+)", rows.stdout))


def occupy(server: Server, path: str, clients: contextlib.ExitStack) -> list[socket.socket]:
    """Ask for a path that does not answer soon, until every worker has such a request; return the connections.

    The kernel chooses the worker: no fixed number of connections is enough for sure.
    """
    opened: list[socket.socket] = []
    while set(holders(server.port)) < set(server.workers()):
        client = clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        opened.append(client)
        wait_for(lambda: holders(server.port).total() == len(opened), what="a worker accepts the connection")
    wait_for(lambda: server.total("tiny_listener_events_in_progress") == len(opened), what=f"{path} is in flight")
    return opened


def replaced(server: Server, worker: int, workers: int) -> Callable[[], bool]:
    """Return a condition: the worker is gone, and there are so many again."""

    def condition() -> bool:
        now = server.workers()
        return worker not in now and len(now) == workers

    return condition


@contextlib.contextmanager
def load(server: Server, clients: int = 8) -> Iterator[Counter[str]]:
    """Clients that open a new connection for each request while the block runs; the outcome of each request."""
    outcomes: Counter[str] = Counter()
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                outcome = str(server.get("/")[0])
            except Exception as exc:
                outcome = type(exc).__name__
            outcomes[outcome] += 1

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: outcomes["200"] > 50)
        yield outcomes
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def versions(server: Server, requests: int = 40) -> set[str]:
    """Return the versions that answer."""
    return {json.loads(server.get("/")[1])["version"] for _ in range(requests)}


def answers(server: Server, requests: int = 60) -> Counter[str]:
    """Who answers so many requests, each on a connection of its own."""
    return Counter(server.get("/")[1].decode() for _ in range(requests))


def listeners(pid: int) -> int:
    """How many listening TCP sockets a process has open."""
    inodes = {row.split()[9] for row in Path("/proc/net/tcp").read_text().splitlines()[1:] if row.split()[3] == "0A"}
    count = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed by now
            count += os.readlink(fd).removeprefix("socket:[").removesuffix("]") in inodes
    return count
