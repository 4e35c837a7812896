"""A connection for each request."""

from __future__ import annotations

from locust import FastHttpUser, constant_throughput, task

from .checking import expect

__all__ = ["Newcomer"]


class Newcomer(FastHttpUser):
    """Opens a new connection each time."""

    weight = 2
    wait_time = constant_throughput(20)

    @task
    def ask(self) -> None:
        """Ask once, and hear that the connection ends."""
        with self.client.get(
            "/user/Bob", headers={"connection": "close"}, name="churn /user/{username}", catch_response=True
        ) as response:
            expect(response, 200, "Hello, Bob!")
