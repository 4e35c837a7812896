"""Runs in valgrind: feeds requests to a server in this process, over transports that keep nothing, and counts."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from typing import Any

import uvloop

BATCH = 16
"""Connections whose requests arrive in the same loop iteration."""
ROUNDS = 40
WARM = 8


class Transport:
    """Takes what is written."""

    def __init__(self) -> None:
        self.last = b""

    def write(self, data: bytes) -> None:
        """Keep the last bytes."""
        self.last = data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the address of a client."""
        return ("127.0.0.1", 1) if name == "peername" else default

    def is_closing(self) -> bool:
        """It never closes."""
        return False


def request(method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    """Return the bytes of a request."""
    framing = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n{framing}\r\n".encode() + body


SCENARIOS = {
    "hello": request("GET", "/user/Bob"),
    "two path parameters": request("GET", "/items/17/parts/abc"),
    "a query field": request("GET", "/query?q=abc&n=3"),
    "a JSON body": request("POST", "/orders", b'{"item":"tea","count":2}'),
    "a dict": request("GET", "/dict"),
    "a Response with two fields": request("GET", "/response"),
    "None": request("GET", "/none"),
    "an HTTPError": request("GET", "/error"),
    "no such page": request("GET", "/no/such/page"),
}


def ask(  # noqa: PLR0917 - a callback has no keywords
    server: Any, connections: list[Any], data: bytes, rounds: int, counter: ctypes.CDLL | None, name: str
) -> None:
    """Send a request on each connection, in each of some loop iterations."""
    if counter is not None:
        counter.start()
    for _ in range(rounds):
        for connection in connections:
            connection.data_received(data)
        server.work()
    if counter is not None:
        counter.stop(f"{name}|{BATCH * rounds}".encode())


async def main(application: Any, counter: ctypes.CDLL) -> None:
    """Count the instructions of each scenario."""
    from tiny_listener_metrics.ledger import Ledger  # noqa: PLC0415
    from tiny_listener_metrics.recorder import Recorder  # noqa: PLC0415

    from tiny_listener.http.h1.server import HTTPServer  # noqa: PLC0415 - of the tree that is counted

    app = application()
    app.host.observer = Recorder(Ledger().open_row("x").writer())
    for route in app.router:
        route.observer = app.host.observer.route_added(route)
    app.router.prepare()
    server = HTTPServer(app, app.settings)
    connections = []
    for _ in range(BATCH):
        connection: Any = server()
        connection.connection_made(Transport())
        connections.append(connection)
    loop = asyncio.get_running_loop()
    for name, data in SCENARIOS.items():
        for rounds in (WARM, ROUNDS):
            done = loop.create_future()
            # In a callback, as from a transport: within a task handlers do not run at once.
            loop.call_soon(ask, server, connections, data, rounds, counter if rounds == ROUNDS else None, name)
            loop.call_soon(done.set_result, None)
            await done
            await asyncio.sleep(0.01)  # what the rounds left to do
        status = connections[0].transport.last.split(b" ", 2)[1].decode()
        print(f"{name}: {status}", file=sys.stderr)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    library, tree = sys.argv[1:]
    sys.path[:0] = [tree, f"{tree}/metrics", f"{tree}/supervisor"]
    from application import make  # type: ignore[import-not-found]  # next to this file

    uvloop.run(main(make, ctypes.CDLL(library)))
