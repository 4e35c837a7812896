"""CloudEvents over sockets, to several workers: stored, in order for each key, and once for each source and id."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.server import ROOT, Server, free_port, serving
from tests.waiting import wait_for
from tiny_listener.cloudevents import CloudEvent, HTTPMessage, from_http, to_http, to_http_batch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

EXAMPLES = ROOT / "examples"
PLACED = "com.example.order.placed"


def order(number: int, customer: str = "ann", total: int = 350) -> CloudEvent:
    return CloudEvent(PLACED, "/shop", {"total": total}, id=str(number), extensions={"partitionkey": customer})


def send(server: Server, *messages: HTTPMessage) -> list[int]:
    """Send deliveries on one connection, and return the statuses."""
    found = []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as client:
        for message in messages:
            client.request("POST", "/events", message.body, dict(message.headers))
            response = client.getresponse()
            response.read()
            found.append(response.status)
    return found


def handled(server: Server) -> list[tuple[int, str]]:
    """Return the number and the customer of each order that was handled."""
    return [
        (int(number), customer) for number, customer in re.findall(r"^order (\d+) of (\w+):", server.log, re.MULTILINE)
    ]


def of(customer: str, orders: Sequence[tuple[int, str]]) -> list[int]:
    return [number for number, its in orders if its == customer]


def test_the_example(tmp_path: Path) -> None:
    port = free_port()
    env = {"NEXT_URL": f"http://127.0.0.1:{port}/events"}
    options = ["--workers", "2", "--events", f"sqlite:{tmp_path}"]
    with serving("webhooks:app", *options, cwd=EXAMPLES, port=port, env=env) as server:
        assert send(server, to_http(order(7)), to_http(order(8), "structured"), to_http_batch([order(9)])) == [202] * 3
        assert send(server, to_http(order(7).replace(type="nobody"))) == [404]
        assert send(server, HTTPMessage([("content-type", "text/plain")], b"x")) == [415]
        for number in (7, 8, 9):
            wait_for(lambda number=number: f"payment of {number} is received, 350" in server.log)  # type: ignore[misc]
        status, body = server.get("/example")
        assert (status, body) == (200, b'{"total":350}')
        assert server.get("/events", method="OPTIONS")[0] == 204
        assert "Traceback" not in server.log


def test_order_and_repeats_while_workers_are_killed(tmp_path: Path) -> None:
    customers = ("ann", "bob", "eve")
    options = ["--workers", "2", "--events", f"sqlite:{tmp_path}"]
    with serving("webhooks:app", *options, cwd=EXAMPLES) as server:
        for start in range(0, 60, 20):
            several = [order(start + n, customer) for customer in customers for n in range(20)]
            for n, event in enumerate(several):
                several[n] = event.replace(id=f"{event.id}{customers.index(event.partitionkey or '')}")
            # The whole batch twice, as a sender does that has lost the answer; and each alone.
            statuses = send(server, to_http_batch(several), to_http_batch(several), *map(to_http, several[::7]))
            assert set(statuses) == {202}
            os.kill(server.workers()[0], signal.SIGKILL)
        wait_for(lambda: len(set(handled(server))) == 180)
        seen = handled(server)
    for customer in customers:
        numbers = of(customer, seen)
        # One that was in flight at a killed worker is repeated at once; nothing else is.
        once = [n for n, before in zip(numbers, [None, *numbers], strict=False) if n != before]
        assert once == sorted(once)
        assert len(once) == 60
        assert len(numbers) <= 63


def test_an_event_survives_all_processes(tmp_path: Path) -> None:
    options = ["--workers", "1", "--events", f"sqlite:{tmp_path}"]
    env = {"NEXT_URL": f"http://127.0.0.1:{free_port()}/"}  # nobody is there: it is tried again
    with serving("webhooks:app", *options, cwd=EXAMPLES, env=env) as server:
        assert send(server, to_http(order(7))) == [202]
        wait_for(lambda: handled(server) != [])
        server.process.kill()
        server.process.wait()
    with serving("webhooks:app", *options, cwd=EXAMPLES) as server:
        wait_for(lambda: handled(server) == [(7, "ann")])


def test_a_reply_is_an_event() -> None:
    with serving("webhooks:app", "--events", "memory", cwd=EXAMPLES) as server:
        for accept, mode in (("*/*", "binary"), ("application/cloudevents+json", "structured")):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as client:
                client.request("GET", "/example", headers={"Accept": accept})
                response = client.getresponse()
                event = from_http(response.getheaders(), response.read())
            assert (event.type, event.id, event.data) == (PLACED, "7", {"total": 350}), mode
