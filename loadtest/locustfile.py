"""What users of the example do: greet, echo, and now and then ask for a page that is not there.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8000

Two classes of users: browsers read, and a program posts. A miss is expected to be 404: anything else is a failure.
"""

from __future__ import annotations

import random

from locust import FastHttpUser, constant_throughput, task


class Browser(FastHttpUser):
    """Reads pages, one in twenty of which does not exist."""

    weight = 3
    wait_time = constant_throughput(50)
    names = ("Bob", "Alice", "J%C3%BCrgen", "a%2Fb")

    @task(8)
    def hello(self) -> None:
        """A page without a parameter."""
        with self.client.get("/", catch_response=True) as response:
            if response.text != "Welcome!":
                response.failure(f"unexpected body {response.text!r}")

    @task(11)
    def user(self) -> None:
        """A page with a parameter."""
        name = random.choice(self.names)
        with self.client.get(f"/user/{name}", name="/user/{username}", catch_response=True) as response:
            if not (response.text or "").startswith("Hello, "):
                response.failure(f"unexpected body {response.text!r}")

    @task(1)
    def miss(self) -> None:
        """A page that does not exist: 404 is right."""
        with self.client.get(f"/nothing/{random.random()}", name="a miss", catch_response=True) as response:
            if response.status_code == 404:
                response.success()
            else:
                response.failure(f"404 was expected, not {response.status_code}")


class Program(FastHttpUser):
    """Posts what it wants echoed."""

    weight = 1
    wait_time = constant_throughput(50)

    @task
    def echo(self) -> None:
        """Bytes that must come back as they went."""
        body = random.randbytes(1024)
        with self.client.post("/echo", data=body, catch_response=True) as response:
            if response.content != body:
                response.failure("the body came back changed")
