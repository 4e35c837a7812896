"""The channel between the supervisor and a child process: a SEQPACKET socket pair (unix(7)).

A packet is one message and arrives whole or not at all. File descriptors travel with it (SCM_RIGHTS). When one side
ends, however it dies, the other reads end of file.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from .fd_batches import MAX_FDS, FdBatch, parts_of
from .messages import FromWatcher, FromWorker, ToWorker

__all__ = [
    "Channel",
    "ChannelClosed",
    "DescriptorsLost",
    "GarbledMessage",
    "channel_pair",
    "fitting",
    "watch_channel_pair",
]

MAX_MESSAGE = 128 * 1024
"""Bytes. The longest message is a traceback, which is truncated to fit."""
MAX_TEXT = 64 * 1024
"""Bytes of a text in a message."""
CLOSE_ON_EXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
"""Flag for received file descriptors, so that programs started by this process do not inherit them (recvmsg(2))."""

In = TypeVar("In")
Out = TypeVar("Out")


def fitting(text: str) -> str:
    """Return a text that fits into a message. A longer text keeps its end, which says what happened, and its length.

    Characters that UTF-8 cannot encode, such as the surrogates of a file name (os.fsdecode), are escaped.
    """
    data = text.encode(errors="backslashreplace")
    if len(data) <= MAX_TEXT:
        return data.decode()
    return f"... ({len(data)} bytes)\n{data[-MAX_TEXT:].decode(errors='ignore')}"


class ChannelClosed(Exception):  # noqa: N818 - an end, not always an error
    """The other side is gone."""


class GarbledMessage(Exception):  # noqa: N818
    """A packet that is not a message this side understands."""


class DescriptorsLost(Exception):  # noqa: N818
    """A message arrived without its file descriptors, because this process is at its limit (RLIMIT_NOFILE).

    :ivar message: the message
    """

    def __init__(self, message: Any) -> None:
        super().__init__(f"no file descriptor left to receive those sent with {type(message).__name__}")
        self.message = message


class Channel(Generic[In, Out]):
    """One end of a channel. It never blocks.

    :param sock: the SEQPACKET socket
    :param understands: the type, or the union of types, of incoming messages
    """

    def __init__(self, sock: socket.socket, understands: Any) -> None:
        sock.setblocking(False)  # noqa: FBT003
        self._sock = sock
        self._encode = msgspec.msgpack.Encoder().encode
        self._decoder: msgspec.msgpack.Decoder[In] = msgspec.msgpack.Decoder(understands)

    def fileno(self) -> int:
        """Return the file descriptor to wait on."""
        return self._sock.fileno()

    def send(self, message: Out, fds: Sequence[int] = ()) -> None:
        """Send a message.

        :param fds: at most `MAX_FDS`
        :raises ChannelClosed: the other side is gone
        :raises BlockingIOError: the buffer is full because the other side does not read
        :raises OSError: the kernel refuses, for example with ETOOMANYREFS when too many descriptors are in flight
            (unix(7))
        """
        data = self._encode(message)
        try:
            if fds:
                socket.send_fds(self._sock, [data], list(fds))
            else:
                self._sock.send(data)
        except (BrokenPipeError, ConnectionResetError):
            raise ChannelClosed from None

    def send_batch(self, message: FdBatch, fds: Sequence[int]) -> None:
        """Send a message with any number of file descriptors, in as many parts as needed.

        :raises ChannelClosed: as `send` does, and its other errors; a retry starts again with the first part
        """
        for part, last, some in parts_of(fds):
            whole: Any = msgspec.structs.replace(message, part=part, last=last)
            self.send(whole, some)

    def receive(self) -> tuple[In, list[int]] | None:
        """Return the next message and its file descriptors, which the caller must close; None: none has arrived yet.

        :raises ChannelClosed: the other side is gone
        :raises GarbledMessage: the packet is not a valid message
        :raises DescriptorsLost: the file descriptors did not arrive, or not all of them
        """
        try:
            data, fds, flags = _receive(self._sock)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            raise ChannelClosed from None
        if not data:
            raise ChannelClosed
        try:
            if flags & socket.MSG_TRUNC:
                raise GarbledMessage("a truncated message")
            message = self._decoder.decode(data)
            if flags & socket.MSG_CTRUNC:
                raise DescriptorsLost(message)
        except (msgspec.DecodeError, GarbledMessage, DescriptorsLost) as exc:
            for fd in fds:
                os.close(fd)
            if isinstance(exc, msgspec.DecodeError):
                raise GarbledMessage(str(exc)) from None
            raise
        return message, fds

    def close(self) -> None:
        """Close this end."""
        with contextlib.suppress(OSError):
            self._sock.close()


def _receive(sock: socket.socket) -> tuple[bytes, list[int], int]:
    """Return a packet, its file descriptors and the flags of recvmsg(2).

    Like `socket.recv_fds`, which does not return the flags in every version of Python.
    """
    fds = array.array("i")
    room = socket.CMSG_SPACE(MAX_FDS * fds.itemsize)
    data, ancillary, flags, _ = sock.recvmsg(MAX_MESSAGE, room, CLOSE_ON_EXEC)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, list(fds), flags


def channel_pair() -> tuple[Channel[FromWorker, ToWorker], Channel[ToWorker, FromWorker]]:
    """Return the supervisor's end and the worker's end of a new channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours, FromWorker), Channel(theirs, ToWorker)


def watch_channel_pair() -> tuple[Channel[FromWatcher, None], Channel[None, FromWatcher]]:
    """Return the supervisor's end and the watcher's end of a new channel; the supervisor sends nothing on it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours, FromWatcher), Channel(theirs, None)
