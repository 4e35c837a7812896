"""A loop that serves at a sibling's sockets, and gives them back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from tiny_listener.net.provider import ListenAddress


class Two:
    """Owns two sockets at one address: that of the loop, and that of its sibling."""

    def __init__(self) -> None:
        self.ours, self.sibling = socket.socket(), socket.socket()
        port = 0
        for sock in (self.ours, self.sibling):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("127.0.0.1", port))
            port = sock.getsockname()[1]
        self.sibling.listen()

    async def acquire(self, addresses: Sequence[ListenAddress]) -> list[socket.socket]:
        return [self.ours.dup() for _ in addresses]

    def close(self) -> None:
        self.ours.close()
        self.sibling.close()


class Hello(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello")
        transport.close()


async def ask(port: int, count: int = 20) -> None:
    """Some of these are in the one queue, some in the other: all are answered."""
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def test_a_sibling_s_socket_is_served_and_given_back(runner: asyncio.Runner) -> None:
    loop: Any = runner.get_loop()
    two = Two()
    loop.socket_provider = two

    async def go() -> None:
        server = await loop.create_server(Hello, "127.0.0.1", two.ours.getsockname()[1])
        port = two.ours.getsockname()[1]
        for _ in range(3):
            loop.takeover.take_over(1, [two.sibling.dup()])
            await until(lambda: len(loop.servers) == 2)
            await ask(port)
            loop.takeover.hand_back(1)
            await until(lambda: len(loop.servers) == 1)
        # Nobody accepts from it any more; what waits there stays there.
        two.sibling.setblocking(False)  # noqa: FBT003
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        for _ in range(20):
            await asyncio.sleep(0)
        two.sibling.accept()[0].close()
        for client in clients:
            client.close()
        server.close()
        await server.wait_closed()

    runner.run(go())
    two.close()


def test_what_is_not_served_here_is_closed(runner: asyncio.Runner) -> None:
    loop: Any = runner.get_loop()
    two = Two()
    loop.socket_provider = two

    async def go() -> None:
        taken = two.sibling.dup()
        loop.takeover.take_over(1, [taken])
        await until(lambda: taken.fileno() < 0)
        server = await loop.create_server(Hello, "127.0.0.1", two.ours.getsockname()[1])
        server.close()  # as in a drain
        await server.wait_closed()
        late = two.sibling.dup()
        loop.takeover.take_over(1, [late])
        await until(lambda: late.fileno() < 0)
        assert len(loop.servers) == 1

    runner.run(go())
    two.close()


def test_what_is_given_back_at_once_is_never_served(runner: asyncio.Runner) -> None:
    loop: Any = runner.get_loop()
    two = Two()
    loop.socket_provider = two

    async def go() -> None:
        server = await loop.create_server(Hello, "127.0.0.1", two.ours.getsockname()[1])
        taken = two.sibling.dup()
        loop.takeover.take_over(1, [taken])
        loop.takeover.hand_back(1)
        await until(lambda: taken.fileno() < 0 and len(loop.servers) == 1)
        server.close()
        await server.wait_closed()

    runner.run(go())
    two.close()


def test_a_loan_of_which_something_cannot_be_served_is_given_back_whole_and_said(runner: asyncio.Runner) -> None:
    loop: Any = runner.get_loop()
    two = Two()
    loop.socket_provider = two
    failed: list[int] = []

    async def go() -> None:
        server = await loop.create_server(Hello, "127.0.0.1", two.ours.getsockname()[1])
        real = loop.takeover._recipes[next(iter(loop.takeover._recipes))]
        opened = 0

        async def open_one_only(sock: socket.socket) -> Any:
            nonlocal opened
            opened += 1
            if opened == 2:
                raise OSError(24, "Too many open files")
            return await real[0](sock)

        loop.takeover.learn(two.ours, real[1], open_one_only)
        loop.takeover.on_failure = failed.append
        taken = [two.sibling.dup() for _ in range(3)]
        loop.takeover.take_over(7, taken)
        await until(lambda: failed == [7] and len(loop.servers) == 1)
        assert [sock.fileno() for sock in taken[1:]] == [-1, -1]
        loop.takeover.take_over(7, [two.sibling.dup()])  # tried again
        await until(lambda: len(loop.servers) == 2)
        loop.takeover.hand_back(7)
        await until(lambda: len(loop.servers) == 1)
        server.close()
        await server.wait_closed()

    runner.run(go())
    two.close()
    assert failed == [7]
