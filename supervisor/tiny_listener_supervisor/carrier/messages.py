"""Messages between the supervisor and the carrier, and what sends them.

Questions and answers may be longer than a packet: they travel as msgpack, in parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from ..ipc.channel import Channel, ChannelClosed
from ..ipc.messages import Dumped, Stop, TakeLog

__all__ = [
    "PART",
    "AnswerPart",
    "Attach",
    "Begin",
    "CarrierFailed",
    "CarrierReady",
    "FromCarrier",
    "LinkLost",
    "Outbox",
    "Parts",
    "QuestionPart",
    "ToCarrier",
    "carrier_channel_pair",
    "in_parts",
]

PART = 64 * 1024
"""Bytes of a question or an answer in one message."""
RETRY = 0.05
"""Seconds until a message is sent again that the kernel refused for another reason than a full buffer, such as too many
file descriptors in flight (ETOOMANYREFS, unix(7))."""


class Begin(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: open the store. The first message.

    :ivar expected: slots whose workers were linked to an earlier carrier of this server
    """

    expected: list[int]


class Attach(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: serve this worker. Your end of the link to it comes with this message.

    :ivar pid: of the worker
    """

    slot: int
    pid: int


class QuestionPart(msgspec.Struct, tag=True, frozen=True):
    """Supervisor: a part of a question of an operator.

    :ivar id: of the question
    :ivar last: whether this is its last part
    """

    id: int
    data: bytes
    last: bool


class CarrierReady(msgspec.Struct, tag=True, frozen=True):
    """Carrier: the store is open."""


class CarrierFailed(msgspec.Struct, tag=True, frozen=True):
    """Carrier: the store cannot be opened, and why, in one line."""

    text: str


class LinkLost(msgspec.Struct, tag=True, frozen=True):
    """Carrier: the link of a worker did not arrive, for want of file descriptors.

    :ivar pid: of the worker
    """

    pid: int


class AnswerPart(msgspec.Struct, tag=True, frozen=True):
    """Carrier: a part of the answer to a question; see `QuestionPart`."""

    id: int
    data: bytes
    last: bool


ToCarrier: TypeAlias = Begin | Attach | QuestionPart | TakeLog | Stop
FromCarrier: TypeAlias = CarrierReady | CarrierFailed | LinkLost | AnswerPart | Dumped

Part = TypeVar("Part", QuestionPart, AnswerPart)
In = TypeVar("In")
Out = TypeVar("Out")


def carrier_channel_pair() -> tuple[Channel[FromCarrier, ToCarrier], Channel[ToCarrier, FromCarrier]]:
    """Return the supervisor's end and the carrier's end of a new channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours, FromCarrier), Channel(theirs, ToCarrier)


def in_parts(make: Callable[[int, bytes, bool], Part], number: int, message: Any) -> Iterator[Part]:
    """Yield the messages that carry a question or an answer.

    :param make: the type of the messages
    :param number: of the question
    """
    data = msgspec.msgpack.encode(message)
    for at in range(0, len(data), PART):
        yield make(number, data[at : at + PART], at + PART >= len(data))


class Parts:
    """Questions or answers of which some parts have arrived.

    :param kind: their type
    """

    def __init__(self, kind: Any) -> None:
        self._decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(kind).decode
        self._begun: dict[int, bytearray] = {}

    def add(self, part: QuestionPart | AnswerPart) -> Any:
        """Add a part. Return the whole with its last part, and None before.

        :raises msgspec.DecodeError: the whole is of another type
        """
        data = self._begun.setdefault(part.id, bytearray())
        data += part.data
        if not part.last:
            return None
        del self._begun[part.id]
        return self._decode(bytes(data))


class Outbox(Generic[In, Out]):
    """Sends messages on a channel in their order, and keeps those for which its buffer has no room yet.

    :param channel: the channel. A reader of it may be registered with the loop; the outbox adds a writer
    """

    def __init__(self, channel: Channel[In, Out]) -> None:
        self._channel = channel
        self._waiting: deque[tuple[Out, Sequence[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None

    def send(self, message: Out, fds: Sequence[int] = ()) -> None:
        """Send a message as soon as there is room. If the other side is gone, it is dropped.

        :param fds: file descriptors to send with it; they are closed here afterwards
        """
        self._waiting.append((message, fds))
        if len(self._waiting) == 1:
            self._work()

    def _work(self) -> None:
        fd = self._channel.fileno()
        while self._waiting:
            message, fds = self._waiting[0]
            try:
                self._channel.send(message, fds)
            except BlockingIOError:
                self._loop.add_writer(fd, self._work)
                return
            except ChannelClosed:
                self.close()
                return
            except OSError:
                self._loop.remove_writer(fd)
                self._retry = self._loop.call_later(RETRY, self._work)
                return
            self._waiting.popleft()
            _close(fds)
        self._loop.remove_writer(fd)

    @property
    def is_empty(self) -> bool:
        """Whether all was sent."""
        return not self._waiting

    def close(self) -> None:
        """Drop what was not sent. Call it before the channel is closed."""
        if self._retry is not None:
            self._retry.cancel()
        if self._channel.fileno() >= 0:
            self._loop.remove_writer(self._channel.fileno())
        while self._waiting:
            _close(self._waiting.popleft()[1])


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
