"""The link between a worker and the carrier: a connected stream socket, with many messages in a frame.

A frame is its length (4 bytes, big-endian) and a list of messages (msgpack). The messages of one loop iteration travel
in one frame, because a system call costs more than a message.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

__all__ = ["Frames", "Gone", "Link"]

In = TypeVar("In")
Out = TypeVar("Out")

logger = logging.getLogger("tiny_listener")

MAX_BATCH: Final = 512
"""Messages in a frame at most, so that neither side is busy for long with one."""


class Frames(Generic[In]):
    """Parses frames. Pure.

    :param kinds: the union of the messages
    """

    def __init__(self, kinds: Any) -> None:
        self._decode: Final[Callable[[bytes | memoryview], list[In]]] = msgspec.msgpack.Decoder(list[kinds]).decode
        self._rest = bytearray()
        self._needed = 4

    def feed(self, data: bytes) -> list[In]:
        """Return the messages of all frames that are complete now.

        :raises msgspec.DecodeError: a frame is not a list of messages
        """
        if not self._rest and len(data) == 4 + int.from_bytes(data[:4], "big"):  # PERF: one whole frame, as is common
            return self._decode(memoryview(data)[4:])
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:  # a large frame comes in many pieces
                return []
            data = bytes(self._rest)
        messages: list[In] = []
        view, at, end = memoryview(data), 0, len(data)
        self._needed = 4
        while end - at >= 4:
            until = at + 4 + int.from_bytes(view[at : at + 4], "big")
            if until > end:
                self._needed = until - at
                break
            messages += self._decode(view[at + 4 : until])
            at = until
        self._rest = bytearray(view[at:])
        return messages


class Link(asyncio.Protocol, Generic[In, Out]):
    """One end of a link.

    :param kinds: the union of the messages that arrive
    :param on_messages: called with those of one read
    :param on_closed: called once, when the other end is gone, or sent what is no message
    """

    def __init__(self, kinds: Any, on_messages: Callable[[list[In]], None], on_closed: Callable[[], None]) -> None:
        self._frames: Final[Frames[In]] = Frames(kinds)
        self._on_messages: Final = on_messages
        self._on_closed: Final = on_closed
        self._encode: Final = msgspec.msgpack.Encoder().encode
        self._loop: Final = asyncio.get_running_loop()
        self._out: list[Out] = []
        self._transport: asyncio.Transport | None = None
        self._is_closed = False
        self._opening: asyncio.Future[Any] | None = None

    def open(self, sock: socket.socket) -> None:
        """Use a connected socket, which belongs to the link from now on. What is sent before it is open waits."""
        self._opening = asyncio.ensure_future(self._open(sock))

    async def _open(self, sock: socket.socket) -> None:
        transport, _ = await self._loop.create_unix_connection(lambda: self, sock=sock)
        if self._is_closed:
            transport.close()  # not before: uvloop attaches the socket last, and would leave it open

    def send(self, message: Out) -> None:
        """Send a message at the end of this loop iteration."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(message)

    def send_now(self, messages: list[Out]) -> None:
        """Send messages, and what is waiting before them."""
        self._out += messages
        self._flush()

    def _flush(self) -> None:
        if self._is_closed:
            self._out.clear()
        elif self._transport is not None:
            out, self._out = self._out, []
            for start in range(0, len(out), MAX_BATCH):
                frame = self._framed(out[start : start + MAX_BATCH])
                self._transport.write(len(frame).to_bytes(4, "big") + frame)

    def _framed(self, messages: list[Out]) -> bytes:
        try:
            return self._encode(messages)
        except Exception:  # one that cannot be sent must not take the others with it
            return self._encode([message for message in messages if self._can_be_sent(message)])

    def _can_be_sent(self, message: Out) -> bool:
        try:
            self._encode(message)
        except Exception as exc:
            logger.error("A message to the other end of the link cannot be sent: %s: %s", type(exc).__name__, exc)
            return False
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)  # that of uvloop is no instance of it
        self._flush()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            messages = self._frames.feed(data)
        except msgspec.DecodeError:
            self.close()
            return
        if messages:
            self._on_messages(messages)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._end()

    def close(self) -> None:
        """Send what is waiting, and close."""
        if self._is_closed:
            return
        self._flush()
        if self._transport is not None and self._opening is not None and self._opening.done():
            self._transport.close()
        self._end()

    def _end(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._on_closed()


class Gone:
    """A link is closed.

    :param slot: that of its worker
    """

    def __init__(self, slot: int) -> None:
        self.slot: Final = slot
