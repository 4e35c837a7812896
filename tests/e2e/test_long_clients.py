"""Clients that keep their connection, and those that read for long, while workers are replaced around them."""

from __future__ import annotations

import contextlib
import http.client
import select
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


class Client:
    """Asks for a path again and again on one connection, until the server says that it ends or closes it idle."""

    def __init__(self, port: int, path: str, end: bytes, *, keeps: bool) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._path = path
        self._end = end
        self._keeps = keeps

    def close(self) -> None:
        """Ask no more."""
        self._connection.close()

    def ask(self) -> str:
        """Return what became of a request, in a word."""
        sock = self._connection.sock
        if sock is not None and select.select([sock], [], [], 0)[0]:  # closed while it was idle
            self._connection.close()
        try:
            self._connection.request("GET", self._path)
            response = self._connection.getresponse()
            body = response.read()
        except Exception as exc:
            self._connection.close()
            return type(exc).__name__
        if not self._keeps:
            self._connection.close()
        return "whole" if response.status == 200 and body.endswith(self._end) else f"{response.status} {body[-20:]!r}"


@contextlib.contextmanager
def clients(server: Server) -> Iterator[dict[str, Counter[str]]]:
    """Clients of three kinds, while the block runs; what became of their requests, by kind."""
    outcomes = {"anew": Counter[str](), "kept": Counter[str](), "stream": Counter[str]()}
    stop = threading.Event()

    def work(kind: str, client: Client) -> None:
        while not stop.is_set():
            outcomes[kind][client.ask()] += 1
        client.close()

    kinds = [("anew", "/is-draining", b"e", False)] * 4 + [("kept", "/is-draining", b"e", True)] * 4
    kinds += [("stream", "/a-second", b"the end\n", True)] * 3
    threads = [
        threading.Thread(target=work, args=(kind, Client(server.port, path, end, keeps=keeps)))
        for kind, path, end, keeps in kinds
    ]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: all(counter["whole"] > 2 for counter in outcomes.values()))
        yield outcomes
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def reload(server: Server) -> None:
    """Replace all workers."""
    before = set(server.workers())
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: server.is_ready() and not before & set(server.workers()))


def more_and_fewer(server: Server) -> None:
    """Have a worker more, and then one fewer."""
    count = len(server.workers())
    server.process.send_signal(signal.SIGTTIN)
    wait_for(lambda: len(server.workers()) == count + 1)
    server.process.send_signal(signal.SIGTTOU)
    wait_for(lambda: len(server.workers()) == count)


def recycle(server: Server) -> None:
    """Wait for workers that have dispatched enough."""
    count = server.log.count("events (--max-requests)")
    wait_for(lambda: server.log.count("events (--max-requests)") >= count + 3)


@pytest.mark.parametrize(
    ("disturb", "options"),
    [(reload, []), (more_and_fewer, []), (recycle, ["--max-requests", "300", "--max-requests-jitter", "50"])],
    ids=["reload", "scale", "recycle"],
)
def test_nobody_is_cut_off(disturb: Callable[[Server], None], options: list[str]) -> None:
    with serving("streams:app", "--workers", "3", *options) as server:
        with clients(server) as outcomes:
            for _ in range(2):
                disturb(server)
                streams = outcomes["stream"]["whole"]
                wait_for(lambda streams=streams: outcomes["stream"]["whole"] >= streams + 3)  # type: ignore[misc]
        assert {kind: set(counter) for kind, counter in outcomes.items()} == {kind: {"whole"} for kind in outcomes}, (
            outcomes
        )
