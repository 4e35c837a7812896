"""An endpoint that stops to read: what waits is for the next, and what was read can still be answered."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from tiny_listener.datagrams import BURST, DatagramServer


class Taker(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.taken: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.errors: list[Exception] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.taken.put_nowait((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


def pair() -> tuple[socket.socket, socket.socket]:
    """A socket that is kept, and a client of it."""
    kept = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    kept.bind(("127.0.0.1", 0))
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(10)
    client.connect(kept.getsockname())
    return kept, client


def test_what_waits_after_a_drain_is_for_the_next(runner: asyncio.Runner) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        kept, client = pair()
        with kept, client:
            first, endpoint, protocol = DatagramServer.open(loop, kept.dup(), Taker)
            assert isinstance(protocol, Taker)
            client.send(b"one")
            data, address = await protocol.taken.get()
            assert (data, first.is_serving()) == (b"one", True)
            first.close()
            assert not first.is_serving()
            for number in range(BURST + 1):  # more than are read at a time
                client.send(b"%d" % number)
            endpoint.sendto(b"answer", address)
            assert client.recv(100) == b"answer"
            second, _, other = DatagramServer.open(loop, kept.dup(), Taker)
            assert isinstance(other, Taker)
            assert [(await other.taken.get())[0] for _ in range(BURST + 1)] == [b"%d" % n for n in range(BURST + 1)]
            assert protocol.taken.empty()
            for server, taker in ((first, protocol), (second, other)):
                await server.wait_closed()
                await taker.lost.wait()
            assert endpoint.is_closing()
            endpoint.sendto(b"too late", address)
            assert protocol.errors == []

    runner.run(main())


def test_what_cannot_be_sent_is_told_to_the_protocol(runner: asyncio.Runner) -> None:
    async def main() -> None:
        kept, client = pair()
        with kept, client:
            server, endpoint, protocol = DatagramServer.open(asyncio.get_running_loop(), kept.dup(), Taker)
            assert isinstance(protocol, Taker)
            endpoint.sendto(b"x" * 65508, client.getsockname())  # one byte more than a datagram over IPv4 can carry
            assert [type(exc) for exc in protocol.errors] == [OSError]
            endpoint.sendto(b"x" * 65507, client.getsockname())
            assert len(client.recv(70000)) == 65507
            await server.wait_closed()
            await protocol.lost.wait()

    runner.run(main())
