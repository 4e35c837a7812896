"""An endpoint that stops to read: what waits is for the next, and what was read can still be answered."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tiny_listener.net.datagrams import BURST, DatagramEndpoint, DatagramServer, TakenOverDatagrams


class Taker(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.taken: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.errors: list[Exception] = []
        self.made = 0
        self.pressure: list[str] = []

    def pause_writing(self) -> None:
        self.pressure.append("pause")

    def resume_writing(self) -> None:
        self.pressure.append("resume")

    def connection_made(self, transport: Any) -> None:
        self.made += 1

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


def shared() -> tuple[socket.socket, socket.socket]:
    """Two sockets of one name."""
    both = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    address = ("127.0.0.1", 0)
    for sock in both:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        address = sock.getsockname()
    return both


def fill(sock: socket.socket, text: bytes, count: int) -> None:
    """Have datagrams wait in a socket that the kernel would not choose for them: it is sent them by its own hand."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        sock.connect(client.getsockname())  # until it is connected elsewhere it has all that this client sends
        for number in range(count):
            client.sendto(b"%s%d" % (text, number), sock.getsockname())


def test_a_sibling_s_datagrams_come_to_the_same_protocol(runner: asyncio.Runner) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        own, sibling = shared()
        with sibling:
            server, endpoint, protocol = DatagramServer.open(loop, own, Taker)
            assert isinstance(protocol, Taker)
            for text in (b"one", b"two"):
                taken = TakenOverDatagrams(loop, sibling.dup(), endpoint)
                fill(sibling, text, BURST + 1)
                assert [(await protocol.taken.get())[0] for _ in range(BURST + 1)] == [
                    b"%s%d" % (text, number) for number in range(BURST + 1)
                ]
                assert taken.is_serving()
                taken.close()
                await taken.wait_closed()
                assert not taken.is_serving()
                assert endpoint.taken_over == set()
            assert (protocol.made, protocol.lost.is_set(), endpoint.is_closing()) == (1, False, False)
            taken = TakenOverDatagrams(loop, sibling.dup(), endpoint)
            endpoint.close()  # as an application may, when it has had enough
            assert not taken.is_serving()
            await protocol.lost.wait()
            fill(sibling, b"three", 1)
            await taken.wait_closed()
            await server.wait_closed()
            assert protocol.taken.empty()
            assert sibling.recv(100) == b"three0"

    runner.run(main())


def test_a_datagram_stirs_a_worker_that_rests(runner: asyncio.Runner) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        own, client = pair()
        with client:
            _, endpoint, protocol = DatagramServer.open(loop, own, Taker)
            assert isinstance(protocol, Taker)
            stirred: list[int] = []
            loop.on_activity = lambda: stirred.append(protocol.taken.qsize())
            client.send(b"one")
            await protocol.taken.get()
            assert stirred == [0]  # before it was handed on
            endpoint.close()
            await protocol.lost.wait()

    runner.run(main())


class Full(DatagramEndpoint):
    """An endpoint whose system takes nothing, until it is told to."""

    is_full = True

    def _send(self, data: Any, addr: Any) -> None:
        if self.is_full:
            raise BlockingIOError
        super()._send(data, addr)


def test_a_protocol_is_told_to_pause_and_to_go_on(runner: asyncio.Runner) -> None:
    async def main() -> None:
        kept, client = pair()
        with kept, client:
            protocol = Taker()
            endpoint = Full(asyncio.get_running_loop(), kept.dup(), protocol)
            endpoint.start()
            endpoint.set_write_buffer_limits(high=4, low=1)
            assert endpoint.get_write_buffer_limits() == (1, 4)
            for said, size in (([], 2), ([], 4), (["pause"], 6)):
                endpoint.sendto(b"ab", client.getsockname())
                assert (protocol.pressure, endpoint.get_write_buffer_size()) == (said, size)
            endpoint.is_full = False
            while endpoint.get_write_buffer_size():
                await asyncio.sleep(0)
            assert [client.recv(10) for _ in range(3)] == [b"ab"] * 3
            assert protocol.pressure == ["pause", "resume"]
            endpoint.is_full = True
            endpoint.sendto(b"ab", client.getsockname())
            endpoint.close()  # waits until that is sent
            assert not protocol.lost.is_set()
            endpoint.abort()
            await protocol.lost.wait()

    runner.run(main())


def test_limits_that_make_no_sense_are_refused(runner: asyncio.Runner) -> None:
    async def main() -> None:
        kept, client = pair()
        with client:
            _, endpoint, protocol = DatagramServer.open(asyncio.get_running_loop(), kept, Taker)
            with pytest.raises(ValueError, match="0 <= low <= high is required: low is 5, high is 4"):
                endpoint.set_write_buffer_limits(high=4, low=5)
            other = Taker()
            assert endpoint.get_protocol() is protocol
            endpoint.set_protocol(other)
            client.send(b"to the other")
            assert (await other.taken.get())[0] == b"to the other"
            endpoint.close()
            await other.lost.wait()

    runner.run(main())
