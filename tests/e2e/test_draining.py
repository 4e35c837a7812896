"""Streams that look at the drain, and clients that are not cut off by it."""

from __future__ import annotations

import contextlib
import http.client
import signal
from collections.abc import Iterator

import pytest

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@contextlib.contextmanager
def stream(server: Server, path: str) -> Iterator[http.client.HTTPResponse]:
    """A stream whose first line has come. Its end must be that of its chunks: http.client raises otherwise."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.readline() in (b"begun\n", b"tick\n")
        yield response
    finally:
        connection.close()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("path", ["/waits", "/ticks"])
def test_a_stream_ends_when_the_drain_begins(workers: str, path: str) -> None:
    with (
        serving("streams:app", "--workers", workers) as server,
        stream(server, path) as one,
        stream(server, path) as other,
    ):
        server.process.send_signal(signal.SIGTERM)
        assert one.read().endswith(b"the end\n")
        assert other.read().endswith(b"the end\n")
        assert server.process.wait(20) == 0
        assert "Cancelled" not in server.log


def test_a_stream_of_a_worker_that_is_replaced_ends_too() -> None:
    with serving("streams:app", "--workers", "2") as server, stream(server, "/waits") as response:
        server.process.send_signal(signal.SIGHUP)
        assert response.read() == b"the end\n"
        assert server.get("/is-draining") == (200, b"False")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_drain_begins_after_the_drain_delay(workers: str) -> None:
    with serving("streams:app", "--workers", workers, "--drain-delay", "1") as server:
        with stream(server, "/waits") as response:
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: server.admin("/readyz")[0] == 503)
            assert server.get("/is-draining") == (200, b"False")
            assert response.read() == b"the end\n"
        assert server.process.wait(20) == 0
