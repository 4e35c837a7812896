"""Events that are not requests: lines over TCP, each answered by a line."""

from __future__ import annotations

import random
import time

from gevent import socket
from locust import User, constant_throughput, task

__all__ = ["LineClient", "Talker"]

LAST = b" bye"
"""What an answer ends with after which the server closes the connection."""


class LineClient:
    """Sends a line and reads one, on a connection that it opens when it is first needed.

    :param timeout: in seconds, for each line
    """

    def __init__(self, host: str, port: int, timeout: float = 10) -> None:
        self.address = (host, port)
        self.timeout = timeout
        self._sock: socket.socket | None = None
        self._received = b""

    def ask(self, line: bytes) -> bytes:
        """Return the answer to a line.

        :raises OSError: the connection broke, or ended
        """
        if self._sock is None:
            self._received = b""
            self._sock = socket.create_connection(self.address, self.timeout)
        try:
            self._sock.sendall(line + b"\n")
            while b"\n" not in self._received:
                piece = self._sock.recv(65536)
                if not piece:
                    raise ConnectionResetError("the server closed the connection")
                self._received += piece
        except OSError:
            self.close()
            raise
        answer, _, self._received = self._received.partition(b"\n")
        if answer.endswith(LAST):
            self.close()
        return answer.removesuffix(LAST)

    def close(self) -> None:
        """End the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


class Talker(User):
    """Says lines to the server's TCP source, and compares what comes back."""

    weight = 2
    wait_time = constant_throughput(20)

    def on_start(self) -> None:
        """See `locust.User`."""
        host = (self.host or "").rpartition("//")[2].rpartition(":")[0]
        self.client = LineClient(host, self.environment.parsed_options.tcp_port)

    def on_stop(self) -> None:
        """See `locust.User`."""
        self.client.close()

    @task
    def say(self) -> None:
        """Say a line."""
        line = b"%d %b" % (random.getrandbits(32), random.randbytes(32).hex().encode())
        error: Exception | None = None
        answer = b""
        started = time.perf_counter()
        try:
            answer = self.client.ask(line)
            if answer != line:
                raise ValueError(f"{line!r} was answered with {answer!r}")
        except (OSError, ValueError) as exc:
            error = exc
        self.environment.events.request.fire(
            request_type="TCP",
            name="tcp line {number} {text}",
            response_time=(time.perf_counter() - started) * 1000,
            response_length=len(answer),
            exception=error,
            context={},
        )
