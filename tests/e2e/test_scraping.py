"""The metrics page does not need the workers: it is served while all are blocked, and while one keeps dying."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.server import serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

COUNT = "http_server_request_duration_seconds_count"


def test_the_page_is_served_while_every_worker_is_blocked(version: Path) -> None:
    options = ("--workers", "3", "--hang-timeout", "0")
    with (
        contextlib.ExitStack() as clients,
        serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server,
    ):
        for _ in range(10):
            assert server.get("/")[0] == 200

        def all_are_blocked() -> bool:
            client = clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
            samples = server.samples()
            lags = [value for (name, _), value in samples.items() if name == "tiny_listener_event_loop_lag_seconds"]
            return len(lags) == 3 and min(lags) > 1

        wait_for(all_are_blocked, 60)
        for _ in range(20):
            assert server.total(COUNT, http_response_status_code="200") == 10
        assert server.total("tiny_listener_workers", state="ready") == 3
        # Nobody accepts any more: what the clients of the blocked workers sent waits in their queues.
        late = [clients.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(5)]
        wait_for(lambda: server.total("tiny_listener_accept_queue") >= len(late))
        for path in ("/livez", "/status.json", "/overview.json", "/"):
            assert server.admin(path)[0] == 200, path


def test_the_page_is_there_while_a_worker_dies_again_and_again(version: Path) -> None:
    with serving("changing:app", "--workers", "2", env={"VERSION_FILE": str(version)}) as server:
        for _ in range(10):
            assert server.get("/")[0] == 200
        dead = 0
        while dead < 4:
            workers = server.workers()
            if len(workers) == 2:
                os.kill(workers[-1], signal.SIGKILL)
                dead += 1
            for _ in range(5):
                assert server.total(COUNT, http_response_status_code="200") == 10
        wait_for(lambda: server.total("tiny_listener_worker_restarts_total", reason="signal") == dead)
