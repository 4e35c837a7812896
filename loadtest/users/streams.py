"""Streams: answers that come line by line. The first byte is timed as a GET, the whole as a STREAM."""

from __future__ import annotations

import random
import time

from locust import FastHttpUser, between, task

__all__ = ["Reader"]


class Reader(FastHttpUser):
    """Reads streams to their end."""

    weight = 1
    wait_time = between(0.0, 0.5)

    @task
    def read(self) -> None:
        """Read 5 to 50 lines, which come twenty milliseconds apart."""
        count = random.randint(5, 50)
        started = time.perf_counter()
        error: Exception | None = None
        body = b""
        with self.client.get(
            f"/stream/{count}", name="streams /stream/{count} first byte", stream=True, catch_response=True
        ) as response:
            try:
                body = b"".join(response.iter_content(decode_content=False))
            except Exception as exc:
                error = exc
        if error is None and body.count(b"\n") != count:
            error = ValueError(f"{body.count(10)} lines of {count}")
        self.environment.events.request.fire(
            request_type="STREAM",
            name="streams /stream/{count} whole",
            response_time=(time.perf_counter() - started) * 1000,
            response_length=len(body),
            exception=error,
            context={},
        )
