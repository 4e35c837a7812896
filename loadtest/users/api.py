"""An API: programs and browsers that read pages, and programs that send JSON."""

from __future__ import annotations

import random

from locust import FastHttpUser, constant_throughput, task

from .checking import expect

__all__ = ["Browser", "Program"]

NAMES = (("Bob", "Bob"), ("J%C3%BCrgen", "Jürgen"), ("a%2Fb", "a/b"))
"""As in a path, and as they are."""


class Browser(FastHttpUser):
    """Reads, on a connection that it keeps."""

    weight = 6
    wait_time = constant_throughput(20)

    @task(8)
    def home(self) -> None:
        """A page without a parameter."""
        with self.client.get("/", name="api /", catch_response=True) as response:
            expect(response, 200, "Welcome!")

    @task(11)
    def user(self) -> None:
        """A page with a parameter."""
        path, name = random.choice(NAMES)
        with self.client.get(f"/user/{path}", name="api /user/{username}", catch_response=True) as response:
            expect(response, 200, f"Hello, {name}!")

    @task(6)
    def item(self) -> None:
        """JSON with a parameter that is a number."""
        number = random.randrange(10_000)
        with self.client.get(f"/items/{number}", name="api /items/{number}", catch_response=True) as response:
            item = f'{{"number":{number},"name":"item {number}","price":{number * 100},"tags":["a","b"]}}'
            expect(response, 200, item)


class Program(FastHttpUser):
    """Sends JSON and bytes, and now and then JSON that does not fit."""

    weight = 3
    wait_time = constant_throughput(20)

    @task(10)
    def add(self) -> None:
        """JSON that is decoded into a type."""
        price = random.randrange(100_000)
        item = {"name": "Brücke", "price": price, "tags": ["new", "blue"]}
        with self.client.post("/items", json=item, name="api POST /items", catch_response=True) as response:
            expect(response, 201, f"Brücke: {price}")

    @task(1)
    def add_wrongly(self) -> None:
        """JSON that does not fit: 422 is right."""
        item = {"name": "Brücke", "price": "much", "tags": []}
        with self.client.post("/items", json=item, name="api POST /items (422)", catch_response=True) as response:
            expect(response, 422)

    @task(5)
    def echo(self) -> None:
        """Bytes that must come back as they went."""
        body = random.randbytes(1024)
        with self.client.post("/echo", data=body, name="api POST /echo", catch_response=True) as response:
            expect(response, 200, body)
