"""Slow clients: the request comes in pieces, with pauses between them. What is timed is from its last byte on."""

from __future__ import annotations

import itertools
import random
import time
from http.client import HTTPException, HTTPResponse

import gevent
from gevent import socket
from locust import User, constant, task

__all__ = ["Slow"]

BODY = b"0123456789" * 100
REQUEST = b"POST /echo HTTP/1.1\r\nHost: slow\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Slow(User):
    """Takes a second for a request, on a connection that it keeps."""

    weight = 1
    wait_time = constant(0)
    sock: socket.socket | None = None

    def on_stop(self) -> None:
        """See `locust.User`."""
        self._close()

    @task
    def post(self) -> None:
        """Send a request in five pieces."""
        error: Exception | None = None
        started = time.perf_counter()
        length = 0
        try:
            started, length = self._ask()
        except (OSError, HTTPException, ValueError) as exc:
            error = exc
            self._close()
        self.environment.events.request.fire(
            request_type="POST",
            name="slow POST /echo",
            response_time=(time.perf_counter() - started) * 1000,
            response_length=length,
            exception=error,
            context={},
        )

    def _ask(self) -> tuple[float, int]:
        """Return when the last byte was sent, and how long the answer is."""
        if self.sock is None:
            host, _, port = (self.host or "").rpartition("//")[2].rpartition(":")
            self.sock = socket.create_connection((host, int(port)), 10)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        cuts = [0, *sorted(random.sample(range(1, len(REQUEST)), 4)), len(REQUEST)]
        for start, end in itertools.pairwise(cuts):
            gevent.sleep(0.2)
            self.sock.sendall(REQUEST[start:end])
        started = time.perf_counter()
        response = HTTPResponse(self.sock)
        response.begin()
        body = response.read()
        if response.will_close:
            self._close()
        if response.status != 200 or body != BODY:
            raise ValueError(f"unexpected answer {response.status} {body[:100]!r}")
        return started, len(body)

    def _close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None
