"""Requests that fail: paths without a route, each a different one, and methods that a path does not allow."""

from __future__ import annotations

import random

from locust import FastHttpUser, constant_throughput, task

from .checking import expect

__all__ = ["Lost"]


class Lost(FastHttpUser):
    """Asks for what is not there."""

    weight = 1
    wait_time = constant_throughput(20)

    @task(10)
    def miss(self) -> None:
        """A path that does not exist: 404 is right."""
        self._expect(404, "GET", f"/nothing/{random.random()}", "misses /nothing/...")

    @task(2)
    def wrong_method(self) -> None:
        """A method that the path does not allow: 405 is right."""
        self._expect(405, "DELETE", "/user/Bob", "misses DELETE /user/{username}")

    def _expect(self, status: int, method: str, path: str, name: str) -> None:
        with self.client.request(method, path, name=name, catch_response=True) as response:
            expect(response, status)
