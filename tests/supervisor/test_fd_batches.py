"""File descriptors in parts, and those that do not arrive."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tiny_listener_supervisor.ipc.broker import SocketBroker
from tiny_listener_supervisor.ipc.channel import Channel, ChannelClosed, DescriptorsLost, channel_pair
from tiny_listener_supervisor.ipc.fd_batches import MAX_FDS, FdBatch, FdBatches, parts_of
from tiny_listener_supervisor.ipc.messages import (
    Acquire,
    Address,
    CannotTakeLog,
    CannotTakeOver,
    Granted,
    TakeLog,
    TakeOver,
)
from tiny_listener_supervisor.worker.carrier_link import CarrierLinks
from tiny_listener_supervisor.worker.process import SocketClient

from tiny_listener.events.settings import EventSettings
from tiny_listener.net.addresses import ListenError
from tiny_listener.net.loop import AsyncioLoop
from tiny_listener.net.provider import ListenAddress


def is_open(fd: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(fd)
        return True
    return False


@pytest.fixture
def fds() -> Iterator[list[int]]:
    found = [os.dup(0) for _ in range(4)]
    yield found
    for fd in found:
        with contextlib.suppress(OSError):
            os.close(fd)


@contextlib.contextmanager
def no_more_fds() -> Iterator[None]:
    """This process can open nothing while the block runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, [0]), (1, [1]), (MAX_FDS, [MAX_FDS]), (MAX_FDS + 1, [MAX_FDS, 1]), (2 * MAX_FDS, [MAX_FDS, MAX_FDS])],
)
def test_the_parts_of_a_batch(count: int, sizes: list[int]) -> None:
    parts = list(parts_of(range(count)))
    assert [len(some) for _, _, some in parts] == sizes
    assert [number for number, _, _ in parts] == list(range(len(sizes)))
    assert [last for _, last, _ in parts] == [False] * (len(sizes) - 1) + [True]


def test_parts_are_reassembled_by_batch(fds: list[int]) -> None:
    batches = FdBatches()
    assert batches.add("a", FdBatch(part=0, last=False), fds[:1]) is None
    assert batches.add("b", FdBatch(), fds[1:2]) == fds[1:2]
    assert batches.add("a", FdBatch(part=1), fds[2:]) == [fds[0], *fds[2:]]
    assert all(map(is_open, fds))


def test_a_batch_that_lost_a_part_is_closed(fds: list[int]) -> None:
    batches = FdBatches()
    batches.add("a", FdBatch(part=0, last=False), fds[:1])
    batches.drop("a")
    assert batches.add("a", FdBatch(part=2), fds[1:2]) is None
    assert list(map(is_open, fds)) == [False, False, True, True]
    batches.add("a", FdBatch(part=0, last=False), fds[2:3])
    assert batches.add("a", FdBatch(), fds[3:]) == fds[3:]  # the sender started again
    assert list(map(is_open, fds)) == [False, False, False, True]


def test_a_message_whose_descriptors_do_not_arrive_says_which_it_was() -> None:
    ours, theirs = channel_pair()
    for message in (Granted(7), TakeOver(3), TakeLog()):
        ours.send(message, [0, 1, 2])
        with no_more_fds(), pytest.raises(DescriptorsLost, match=type(message).__name__) as lost:
            theirs.receive()
        assert lost.value.message == message
    ours.send(Granted(8), [0])
    received = theirs.receive()
    assert received is not None
    os.close(received[1][0])
    ours.close()
    theirs.close()


def test_a_worker_says_what_did_not_arrive() -> None:
    ours, theirs = channel_pair()

    async def go() -> None:
        client = SocketClient(theirs, lambda: None, None, CarrierLinks(theirs, EventSettings()))
        await client.start()
        address = ListenAddress(socket.AF_INET, "127.0.0.1")
        asking = asyncio.ensure_future(client.acquire([address]))
        heard: list[Any] = []
        asyncio.get_running_loop().add_reader(ours.fileno(), lambda: heard.append(ours.receive()))
        while not heard:
            await asyncio.sleep(0)
        (acquire,) = [message for message, _ in heard]
        assert isinstance(acquire, Acquire)
        asyncio.get_running_loop().remove_reader(theirs.fileno())
        with no_more_fds():
            ours.send(Granted(acquire.id), [0])
            ours.send(TakeOver(3), [0])
            ours.send(TakeLog(), [0])
            client._hear()
        with pytest.raises(ListenError, match=r"cannot listen: all \d+ file descriptors are in use \(RLIMIT_NOFILE\)"):
            await asking
        while len(heard) < 3:
            await asyncio.sleep(0)
        assert [message for message, _ in heard[1:]] == [CannotTakeOver(3), CannotTakeLog()]

    with asyncio.Runner(loop_factory=AsyncioLoop) as runner:
        runner.run(go())
    ours.close()
    theirs.close()


def test_more_sockets_than_one_message_holds_are_granted() -> None:
    ours, theirs = channel_pair()
    broker = SocketBroker()
    addresses = [Address(socket.AF_INET, "127.0.0.1", 0, 5, index) for index in range(MAX_FDS + 3)]
    broker.answer(0, 11, ours, Acquire(1, addresses))
    batches, whole = FdBatches(), None
    while (received := theirs.receive()) is not None:
        message, come = received
        assert isinstance(message, Granted)
        whole = batches.add(message.id, message, come)
    assert whole is not None
    ports = []
    for fd in whole:
        with socket.socket(fileno=fd) as sock:
            ports.append(sock.getsockname()[1])
    assert ports == [sock.getsockname()[1] for sock in broker.sockets]
    broker.close()
    ours.close()
    theirs.close()


def test_who_asks_and_does_not_read_gets_no_answer_and_does_no_harm() -> None:
    ours, theirs = channel_pair()
    broker = SocketBroker()
    acquire = Acquire(1, [Address(socket.AF_INET, "127.0.0.1", 0, 5)])
    for _ in range(2000):
        broker.answer(0, 11, ours, acquire)
    theirs.close()
    broker.answer(0, 11, ours, acquire)
    broker.close()
    ours.close()


@pytest.mark.parametrize("code", [errno.ETOOMANYREFS, errno.EMSGSIZE])
def test_sockets_that_the_kernel_does_not_take_are_refused_in_words(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = channel_pair()
    broker = SocketBroker()

    def send_fds(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket, "send_fds", send_fds)
    broker.answer(0, 11, ours, Acquire(1, [Address(socket.AF_INET, "127.0.0.1", 0, 5)]))
    received = theirs.receive()
    assert received is not None
    assert (received[0].errno, received[0].text) == (code, os.strerror(code))  # type: ignore[union-attr]
    broker.close()
    ours.close()
    theirs.close()


def test_a_closed_line_is_no_lost_descriptor() -> None:
    ours, theirs = channel_pair()
    ours.close()
    channel: Channel[Any, Any] = theirs
    with pytest.raises(ChannelClosed):
        channel.receive()
    theirs.close()
