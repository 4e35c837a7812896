"""The frames of the link between a worker and the carrier, and its two ends."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_listener.events.envelope import Envelope
from tiny_listener.events.link import MAX_BATCH, Frames, Link
from tiny_listener.events.messages import Confirm, Deliver, Done, FromCarrier, Held, Hello, Publish, Returned, ToCarrier
from tiny_listener.events.policy import RouteTerms

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ENVELOPES = st.builds(
    Envelope, TEXT, TEXT, TEXT, st.binary(max_size=300), st.floats(0, 4e9), st.none() | TEXT, st.booleans(),
    st.booleans(), st.none() | st.dictionaries(TEXT, TEXT), st.none() | TEXT, st.none() | st.floats(0, 4e9),
    st.none() | st.floats(0, 4e9), st.dictionaries(TEXT, TEXT),
)  # fmt: skip
MESSAGES = st.one_of(
    st.builds(Publish, st.integers(0, 2**40), ENVELOPES, st.floats(0, 100), st.booleans()),
    st.builds(Done, st.integers(0, 2**40), st.none() | st.binary(max_size=50)),
    st.builds(Returned, st.lists(st.integers(0, 2**40), max_size=5)),
    st.builds(
        Hello, st.integers(0, 99), st.integers(1, 2**22), st.integers(1, 1000),
        st.none() | st.dictionaries(TEXT, st.builds(RouteTerms, st.none() | st.integers(1, 9), st.booleans())),
        st.none() | TEXT, st.lists(st.builds(Held, st.integers(0, 2**40), st.integers(0, 9)), max_size=3),
    ),
)  # fmt: skip


def frame(messages: list[Any]) -> bytes:
    body = msgspec.msgpack.encode(messages)
    return len(body).to_bytes(4, "big") + body


@given(st.lists(st.lists(MESSAGES, max_size=4), max_size=4), st.data())
def test_frames_split_anywhere(batches: list[list[Any]], data: st.DataObject) -> None:
    stream = b"".join(map(frame, batches))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames: Frames[Any] = Frames(ToCarrier)
    got = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += frames.feed(stream[start:end])
    assert got == [message for batch in batches for message in batch]


def test_a_frame_byte_by_byte() -> None:
    frames: Frames[Any] = Frames(ToCarrier)
    stream = frame([Done(1), Done(2)]) + frame([]) + frame([Done(3)])
    got = [frames.feed(stream[at : at + 1]) for at in range(len(stream))]
    assert [message.seq for some in got for message in some] == [1, 2, 3]


@pytest.mark.parametrize("body", [b"\xc1", b"\x91\x92\xa4done\xa1x", b"\x91\x92\xa4none\x01", b"\x80"])
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Frames[Any](ToCarrier).feed(len(body).to_bytes(4, "big") + body)


class End:
    """One end of a link, in a test."""

    def __init__(self, kinds: Any) -> None:
        self.got: list[Any] = []
        self.closed = asyncio.Event()
        self.link: Link[Any, Any] = Link(kinds, self.got.extend, self.closed.set)


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def test_both_ends(runner: asyncio.Runner) -> None:
    async def main() -> None:
        worker, carrier = End(FromCarrier), End(ToCarrier)
        ours, theirs = socket.socketpair()
        worker.link.send(Done(0))  # before it is open
        worker.link.open(ours)
        carrier.link.open(theirs)
        big = Envelope("i", "p", "p", b"x" * 1_000_000, 1.0)
        for n in range(1, 2 * MAX_BATCH):
            worker.link.send(Done(n))
        carrier.link.send(Confirm([1]))
        carrier.link.send(Deliver(1, 1, redelivered=False, envelope=big))
        await until(lambda: len(carrier.got) == 2 * MAX_BATCH and len(worker.got) == 2)
        assert [message.seq for message in carrier.got] == [*range(2 * MAX_BATCH)]
        assert worker.got[1].envelope == big
        worker.link.send(Done(7))
        worker.link.close()  # what was sent arrives before the end
        worker.link.send(Done(8))
        worker.link.close()
        await carrier.closed.wait()
        assert worker.closed.is_set()
        assert carrier.got[-1] == Done(7)
        carrier.link.send(Confirm([2]))
        carrier.link.close()
        await until(lambda: theirs.fileno() == -1)

    runner.run(main())


def test_a_message_that_cannot_be_sent_takes_no_other_with_it(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        worker, carrier = End(FromCarrier), End(ToCarrier)
        ours, theirs = socket.socketpair()
        worker.link.open(ours)
        carrier.link.open(theirs)
        for n in range(9):
            worker.link.send(Done(2**70) if n % 3 == 1 else Done(n))
        await until(lambda: len(carrier.got) == 6)
        assert [message.seq for message in carrier.got] == [0, 2, 3, 5, 6, 8]
        worker.link.close()
        await carrier.closed.wait()

    runner.run(main())
    assert caplog.text.count("cannot be sent: OverflowError") == 3


def test_an_end_that_sends_nonsense_is_cut_off(runner: asyncio.Runner) -> None:
    async def main() -> None:
        carrier = End(ToCarrier)
        ours, theirs = socket.socketpair()
        carrier.link.open(theirs)
        with ours:
            ours.send(frame([Done(1)]) + b"\0\0\0\1\xc1")
            await carrier.closed.wait()
        assert carrier.got in ([], [Done(1)])

    runner.run(main())


def test_a_link_that_is_closed_while_it_opens(runner: asyncio.Runner) -> None:
    async def main() -> None:
        worker = End(FromCarrier)
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.settimeout(0)
            worker.link.open(ours)
            worker.link.close()
            assert worker.closed.is_set()
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(theirs, 1), 20) == b""
        await until(lambda: ours.fileno() == -1)

    runner.run(main())
