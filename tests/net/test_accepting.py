"""What was accepted is served, though its server is closed at that moment."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tiny_listener.net.accepting import stop_accepting
from tiny_listener.net.many_servers import ManyServers

CLIENTS = 20


@pytest.mark.parametrize("iterations", range(5))
@pytest.mark.parametrize("many", [False, True])
def test_no_accepted_connection_is_dropped(runner: asyncio.Runner, iterations: int, many: bool) -> None:
    """Whatever the iteration in which the server is closed: each client is served, or waits to be accepted."""
    made = 0

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal made
            made += 1

    async def main() -> None:
        loop = asyncio.get_running_loop()
        listening = socket.create_server(("127.0.0.1", 0), backlog=CLIENTS)
        kept = listening.dup()  # as a supervisor keeps it: what is not accepted waits there
        kept.setblocking(False)  # noqa: FBT003
        server = await loop.create_server(Protocol, sock=listening)
        clients = [socket.create_connection(kept.getsockname()) for _ in range(CLIENTS)]
        for _ in range(iterations):
            await asyncio.sleep(0)
        if many:
            ManyServers([server], loop).close()
        else:
            stop_accepting(server)
        for _ in range(10):
            await asyncio.sleep(0)
        waiting = 0
        try:
            while True:
                kept.accept()[0].close()
                waiting += 1
        except BlockingIOError:
            pass
        assert made + waiting == CLIENTS
        for client in clients:
            client.close()
        kept.close()
        async with asyncio.timeout(10):
            await server.wait_closed()

    runner.run(main())
