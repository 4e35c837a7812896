"""The program that the documentation begins with, unchanged, on one worker and on many."""

from __future__ import annotations

import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.server import request, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PORT = 8000
"""The program's own; it knows no other."""


@pytest.fixture(autouse=True)
def _port_is_free() -> None:
    def is_free() -> bool:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("0.0.0.0", PORT))
            except OSError:
                return False
            return True

    wait_for(is_free, what=f"port {PORT} is free")


@pytest.mark.parametrize("workers", [1, 8])
def test_it_answers(workers: int) -> None:
    with serving("document:app", "--workers", str(workers), pass_port=False, port=PORT) as server:
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")
        assert server.get("/") == (200, b"Welcome!")
        assert server.get("/nothing") == (404, b"Page Not Found")
        assert '"GET /user/Bob HTTP/1.1" 200 OK' in wait_for(lambda: server.log if '" 200 OK' in server.log else "")
        assert server.log.count("INFO:     HTTP server running on on http://127.0.0.1:8000") == workers
        if workers > 1:
            assert len(server.workers()) == workers
            out = subprocess.run(
                ["ss", "-ltnH4", f"sport = :{PORT}"], capture_output=True, text=True, check=True
            ).stdout
            assert out.count("LISTEN") == workers
        assert server.stop() == 0


def test_ten_thousand_requests_are_counted_exactly() -> None:
    def ask(n: int) -> int:
        status, body = request(PORT, "/nothing" if n % 10 == 0 else f"/user/{n}")
        assert body == (b"Page Not Found" if n % 10 == 0 else f"Hello, {n}!".encode())
        return status

    with serving("document:app", "--workers", "4", pass_port=False, port=PORT) as server:
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(ask, range(10_000)))
        assert (statuses.count(200), statuses.count(404)) == (9_000, 1_000)
        # The program writes its answer before the event ends: the last ones are counted a moment later.
        name = "tiny_listener_dispatch_seconds_count"
        wait_for(lambda: server.total(name) >= 9_000)
        assert server.total(name, event="GET:/user/{username}") == 9_000
        assert server.total(name) == 9_000
        assert server.total("tiny_listener_events_total", outcome="ok") == 9_000
        assert server.total("tiny_listener_events_total") == 9_000
        assert server.total("tiny_listener_not_found_total") == 1_000
