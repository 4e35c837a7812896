"""What goes between supervisor, carrier and workers: parts, a full buffer, links."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any

import msgspec
import pytest
from tiny_listener_supervisor.carrier.messages import (
    PART,
    AnswerPart,
    Attach,
    Outbox,
    Parts,
    carrier_channel_pair,
    in_parts,
)
from tiny_listener_supervisor.carrier.process import MAX_ROWS, answer_of
from tiny_listener_supervisor.ipc.channel import channel_pair
from tiny_listener_supervisor.ipc.messages import CarrierLink, WantCarrier
from tiny_listener_supervisor.worker.carrier_link import CarrierLinks

from tiny_listener.events import questions
from tiny_listener.events.settings import EventSettings
from tiny_listener.process import after_fork


def letter(number: int, size: int) -> questions.DeadRow:
    return questions.DeadRow(number, "id", "p", "p", None, "crashed", "E", "t", 1, 1, 1.0, None, 2.0, None, "x" * size)


@pytest.mark.parametrize("size", [0, PART - 20, PART, 5 * PART + 1])
def test_parts_make_a_whole_whatever_its_length(size: int) -> None:
    answer = questions.DeadLetters([letter(1, size)])
    sent = list(in_parts(AnswerPart, 7, answer))
    assert [part.last for part in sent] == [False] * (len(sent) - 1) + [True]
    assert all(len(part.data) <= PART for part in sent)
    parts = Parts(questions.Answer)
    other = list(in_parts(AnswerPart, 8, questions.Number(3)))
    found = [parts.add(part) for part in (*sent[:-1], *other, *sent[-1:])]
    assert [one for one in found if one is not None] == [questions.Number(3), answer]


def test_a_whole_of_another_type_is_an_error() -> None:
    parts = Parts(questions.Answer)
    with pytest.raises(msgspec.DecodeError):
        parts.add(AnswerPart(1, msgspec.msgpack.encode({"type": "nothing"}), last=True))


def test_what_the_buffer_has_no_room_for_is_sent_in_order_when_it_has(runner: asyncio.Runner) -> None:
    async def main() -> None:
        ours, theirs = carrier_channel_pair()
        outbox = Outbox(ours)
        kept = os.open("/dev/null", os.O_RDONLY)
        for slot in range(2000):
            outbox.send(Attach(slot, 0), [os.dup(kept)] if slot % 500 == 499 else [])
        assert not outbox.is_empty
        found: list[tuple[int, int]] = []
        async with asyncio.timeout(20):
            while len(found) < 2000:
                received: Any = theirs.receive()
                if received is None:
                    await asyncio.sleep(0)
                    continue
                found.append((received[0].slot, len(received[1])))
                for fd in received[1]:
                    os.close(fd)
        assert found == [(slot, int(slot % 500 == 499)) for slot in range(2000)]
        assert outbox.is_empty
        for slot in range(2000):
            outbox.send(Attach(slot, 0), [os.dup(kept)] if slot > 1990 else [])
        opened = len(os.listdir("/proc/self/fd"))
        theirs.close()
        outbox.close()
        assert len(os.listdir("/proc/self/fd")) == opened - 10  # what was not sent, and their end
        outbox.send(Attach(1, 0))  # nobody is there
        ours.close()
        os.close(kept)

    runner.run(main())


def test_dead_letters_have_room_in_an_answer() -> None:
    class Service:
        async def answer(self, question: questions.Question) -> questions.Answer:
            if isinstance(question, questions.AskDead):
                return questions.DeadLetters([letter(n, MAX_ROWS // 3) for n in range(5)])
            raise ValueError("a bug\nof two lines")

    service: Any = Service()
    answer = asyncio.run(answer_of(service, questions.AskDead()))
    assert isinstance(answer, questions.DeadLetters)
    assert ([row.number for row in answer.rows], answer.more) == ([0, 1], True)
    assert asyncio.run(answer_of(service, questions.AskHalted())) == questions.Wrong(
        "the carrier cannot answer: ValueError: a bug of two lines"
    )


def test_a_worker_asks_for_links_and_keeps_them_from_its_children(runner: asyncio.Runner) -> None:
    async def main() -> None:
        ours, theirs = channel_pair()
        links = CarrierLinks(theirs, EventSettings(concurrency=7))
        assert links.settings.concurrency == 7
        links.want(found.append, starts=True)
        assert ours.receive() == (WantCarrier(starts=True), [])
        one, other = socket.socketpair()
        ours.send(CarrierLink(), [one.fileno()])
        message, fds = theirs.receive() or pytest.fail("nothing")
        assert message == CarrierLink()
        links.take(fds[0])
        (link,) = found
        assert link in after_fork._private_sockets
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                link.send(b"from a child")
            os._exit(0)
        os.waitpid(pid, 0)
        link.send(b"from the worker")
        assert other.recv(100) == b"from the worker"
        links.lost()
        async with asyncio.timeout(20):
            while (again := ours.receive()) is None:
                await asyncio.sleep(0.001)
        assert again == (WantCarrier(starts=False, lost=True), [])
        for end in (ours, theirs, one, other, link):
            end.close()

    found: list[socket.socket] = []
    runner.run(main())
