"""Which sibling takes over which sockets, and when it hands them back; the test sets the clock."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from tiny_listener_supervisor.fleet.handoff import (
    BLOCKED_AFTER,
    BLOCKED_AFTER_WITH_QUEUE,
    RETRY_TAKEOVER,
    WAKE_TIME,
    Handoff,
    plan,
    serves,
)
from tiny_listener_supervisor.fleet.slot import Slot, Worker, WorkerState
from tiny_listener_supervisor.ipc.broker import SocketBroker
from tiny_listener_supervisor.ipc.channel import Channel, ChannelClosed, channel_pair
from tiny_listener_supervisor.ipc.fd_batches import MAX_FDS
from tiny_listener_supervisor.ipc.messages import Address, HandBack, TakeOver
from tiny_listener_supervisor.worker.heartbeat import REST, STAMP


@pytest.mark.parametrize(
    ("unserved", "siblings", "handovers", "wanted"),
    [
        ([], [11, 12], {}, {}),
        ([0], [], {}, {}),
        ([0], [11], {}, {0: 11}),
        ([0, 1], [12, 13], {}, {0: 12, 1: 13}),  # spread
        ([0, 1, 2], [13], {}, {0: 13, 1: 13, 2: 13}),
        ([0, 1], [12, 13], {1: 12}, {1: 12, 0: 13}),  # a handover stays, and counts
        ([0], [11, 12], {0: 12}, {0: 12}),
        ([0], [11], {0: 12}, {0: 11}),  # the sibling no longer serves
        ([0, 1, 2], [13, 14], {0: 13, 1: 13, 2: 13}, {0: 13, 1: 13, 2: 14}),  # a sibling came that has none
        ([0, 1, 2], [13, 14], {0: 13, 1: 13, 2: 14}, {0: 13, 1: 13, 2: 14}),
        ([], [10, 11], {0: 11}, {}),  # its own worker serves
    ],
)
def test_the_plan(unserved: list[int], siblings: list[int], handovers: dict[int, int], wanted: dict[int, int]) -> None:
    assert plan(unserved, siblings, handovers) == wanted


def test_who_is_unable_is_lent_nothing_more_and_keeps_what_it_has() -> None:
    assert plan([0, 1], [12, 13], {0: 12}, unable=[12]) == {0: 12, 1: 13}
    assert plan([0, 1, 2], [12, 13], {0: 13, 1: 13, 2: 13}, unable=[12]) == {0: 13, 1: 13, 2: 13}
    assert plan([0], [12], {}, unable=[12]) == {}


class Crew:
    """Workers whose channels end here, and a clock."""

    def __init__(self, count: int) -> None:
        self.now = 100.0
        self.broker = SocketBroker()
        self.slots = [Slot(number) for number in range(count)]
        self.theirs: list[Channel[Any, Any]] = []
        self.stopping = False
        for slot in self.slots:
            ours, theirs = channel_pair()
            beat = memoryview(bytearray(40)).cast("d")
            slot.worker = Worker(None, 10 + slot.number, ours, None, beat, 0.0, state=WorkerState.READY)
            self.theirs.append(theirs)
            self.broker.acquire(slot.number, Address(socket.AF_INET, "127.0.0.1", 0, 5)).listen(5)
        self.beat()
        self.handoff = Handoff(self.slots, self.broker, lambda: self.stopping, lambda: self.now)

    def worker(self, number: int) -> Worker:
        worker = self.slots[number].worker
        assert worker is not None
        return worker

    def beat(self, *but: int) -> None:
        for slot in self.slots:
            if slot.worker is not None and slot.number not in but:
                slot.worker.shown[STAMP] = self.now

    def heard(self) -> list[tuple[int, Any, int]]:
        """Look, and return what each worker was told, with how many sockets."""
        self.handoff.look()
        told = []
        for number, channel in enumerate(self.theirs):
            while (received := channel.receive()) is not None:
                for fd in received[1]:
                    os.close(fd)
                told.append((number, received[0], len(received[1])))
        return told

    def close(self) -> None:
        self.broker.close()
        for slot, theirs in zip(self.slots, self.theirs, strict=True):
            theirs.close()
            if slot.worker is not None:
                slot.worker.channel.close()


@pytest.fixture
def crew() -> Any:
    crew = Crew(3)
    yield crew
    crew.close()


def test_a_worker_serves_while_it_is_ready_and_its_loop_turns(crew: Crew) -> None:
    worker = crew.worker(0)
    assert serves(worker, crew.now + BLOCKED_AFTER - 0.01)
    assert not serves(worker, crew.now + BLOCKED_AFTER)
    assert not serves(None, crew.now)
    worker.kill_reason = "hung for 1 s"
    assert not serves(worker, crew.now)
    worker.kill_reason = None
    worker.step(WorkerState.DRAINING)
    assert not serves(worker, crew.now)


def test_nothing_is_lent_while_all_serve(crew: Crew) -> None:
    assert crew.heard() == []


def test_a_late_worker_serves_as_long_as_nobody_waits(crew: Crew) -> None:
    worker = crew.worker(0)
    assert serves(worker, crew.now + BLOCKED_AFTER_WITH_QUEUE - 0.01, 0.0)
    assert not serves(worker, crew.now + BLOCKED_AFTER_WITH_QUEUE, 0.0)
    assert serves(worker, crew.now + BLOCKED_AFTER - 0.01)


def test_a_queue_that_waits_is_lent_until_its_worker_stamps(crew: Crew) -> None:
    (sock,) = crew.broker.of_slot(2)
    crew.now += BLOCKED_AFTER_WITH_QUEUE
    crew.beat(2)
    assert crew.heard() == []
    with socket.create_connection(sock.getsockname()):
        (fewer,) = [number for number in range(len(crew.slots)) if number in crew.broker.waiting()]
        crew.beat()
        crew.now += BLOCKED_AFTER_WITH_QUEUE
        crew.beat(fewer)
        sibling = min(number for number in range(len(crew.slots)) if number != fewer)
        assert crew.heard() == [(sibling, TakeOver(fewer), 1)]
        crew.broker.of_slot(fewer)[0].accept()[0].close()  # the sibling served it
        assert crew.heard() == []
        crew.beat()
        assert crew.heard() == [(sibling, HandBack(fewer), 0)]


def test_a_worker_that_rests_is_late_when_that_is_over_or_somebody_waits_for_long(crew: Crew) -> None:
    worker = crew.worker(0)
    worker.shown[REST] = 1.9
    assert serves(worker, crew.now + 1.9 + BLOCKED_AFTER - 0.01)
    assert not serves(worker, crew.now + 1.9 + BLOCKED_AFTER)
    assert serves(worker, crew.now + 1.0, WAKE_TIME - 0.01)
    assert not serves(worker, crew.now + 1.0, WAKE_TIME)
    assert not serves(worker, crew.now + 1.9 + BLOCKED_AFTER_WITH_QUEUE, 0.0)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_who_waits_at_a_worker_that_rests_and_does_not_wake_is_served_by_a_sibling(
    kind: socket.SocketKind, crew: Crew
) -> None:
    for slot in crew.slots:
        crew.broker.acquire(slot.number, Address(socket.AF_INET, "127.0.0.1", 0, 5, kind=int(socket.SOCK_DGRAM)))
        crew.worker(slot.number).shown[REST] = 1.9
    assert crew.heard() == []
    (sock,) = [sock for sock in crew.broker.of_slot(2) if sock.type == kind]
    with socket.socket(socket.AF_INET, kind) as client:
        client.connect(sock.getsockname())
        if kind == socket.SOCK_DGRAM:
            client.send(b"waits")
        (asleep,) = crew.broker.waiting()
        sibling = min({0, 1, 2} - {asleep})
        assert crew.heard() == []  # it may only just have come
        crew.now += WAKE_TIME - 0.01
        assert crew.heard() == []
        crew.worker(asleep).shown[STAMP] = crew.now  # it woke; somebody else waits by now
        assert crew.heard() == []
        crew.now += WAKE_TIME - 0.01
        assert crew.heard() == []
        crew.now += 0.02
        assert crew.heard() == [(sibling, TakeOver(asleep), 2)]
        (sock,) = [sock for sock in crew.broker.of_slot(asleep) if sock.type == kind]
        if kind == socket.SOCK_DGRAM:
            sock.recv(100)
        else:
            sock.accept()[0].close()
        assert crew.broker.waiting() == set()
        crew.now += 0.1
        assert crew.heard() == []  # no client waits, because a sibling serves: that says nothing about the worker
        crew.beat()
        assert crew.heard() == [(sibling, HandBack(asleep), 0)]


def test_a_blocked_slot_is_handed_over_once_and_handed_back(crew: Crew) -> None:
    crew.now += BLOCKED_AFTER
    crew.beat(2)
    assert crew.heard() == [(0, TakeOver(2), 1)]
    assert crew.heard() == []
    crew.beat()
    assert crew.heard() == [(0, HandBack(2), 0)]
    assert crew.heard() == []


def test_a_handover_moves_on_when_the_sibling_is_blocked_too(crew: Crew) -> None:
    crew.worker(2).kill_reason = "is stale"
    assert crew.heard() == [(0, TakeOver(2), 1)]
    crew.now += BLOCKED_AFTER
    crew.beat(0)
    assert crew.heard() == [(0, HandBack(2), 0), (1, TakeOver(0), 1), (1, TakeOver(2), 1)]


def test_a_sibling_that_drains_is_told_nothing(crew: Crew) -> None:
    crew.worker(2).kill_reason = "is stale"
    crew.heard()
    crew.worker(0).step(WorkerState.DRAINING)
    assert crew.heard() == [(1, TakeOver(0), 1), (1, TakeOver(2), 1)]


def test_what_cannot_be_taken_is_lent_to_another_and_to_the_same_one_later(crew: Crew) -> None:
    crew.worker(2).kill_reason = "is stale"
    assert crew.heard() == [(0, TakeOver(2), 1)]
    crew.handoff.failed(2, crew.worker(0))
    assert crew.heard() == [(1, TakeOver(2), 1)]
    crew.handoff.failed(2, crew.worker(1))
    assert crew.heard() == []  # nobody is left who could
    crew.now += RETRY_TAKEOVER - 0.01
    crew.beat()
    assert crew.heard() == []
    crew.now += 0.01
    crew.beat()
    assert crew.heard() == [(0, TakeOver(2), 1)]
    crew.handoff.failed(2, crew.worker(1))  # of a handover that has ended
    assert crew.heard() == []


def test_more_sockets_than_one_message_holds_are_lent(crew: Crew) -> None:
    for index in range(1, MAX_FDS + 1):
        crew.broker.acquire(2, Address(socket.AF_INET, "127.0.0.1", 0, 5, index)).listen(5)
    crew.worker(2).kill_reason = "is stale"
    assert crew.heard() == [(0, TakeOver(2, part=0, last=False), MAX_FDS), (0, TakeOver(2, part=1), 1)]


def test_a_loan_of_a_slot_that_bound_one_more_socket_meanwhile_is_made_again(crew: Crew) -> None:
    crew.worker(2).kill_reason = "is stale"
    assert crew.heard() == [(0, TakeOver(2), 1)]
    crew.broker.acquire(2, Address(socket.AF_INET, "127.0.0.1", 0, 5, 1)).listen(5)
    assert crew.heard() == [(0, TakeOver(2), 2)]
    assert crew.heard() == []
    crew.worker(2).kill_reason = None
    assert crew.heard() == [(0, HandBack(2), 0)]


def test_a_sibling_that_is_gone_is_not_an_error(crew: Crew) -> None:
    crew.worker(2).kill_reason = "is stale"
    crew.heard()
    crew.theirs[0].close()
    crew.worker(2).kill_reason = None
    crew.handoff.look()
    crew.worker(2).kill_reason = "is stale"
    crew.handoff.look()
    with pytest.raises(ChannelClosed):
        crew.worker(0).channel.receive()


def test_a_slot_without_sockets_and_a_server_that_stops_lend_nothing(crew: Crew) -> None:
    crew.slots.append(Slot(3))
    assert crew.heard() == []
    crew.broker.acquire(3, Address(socket.AF_INET, "127.0.0.1", 0, 5))
    assert crew.heard() == []  # it does not listen: nobody can wait there
    crew.slots.pop()
    crew.stopping = True
    crew.worker(2).kill_reason = "is stale"
    assert crew.heard() == []
