"""The line between the supervisor and one of its children: a SEQPACKET socket pair (unix(7)).

A packet is one message, whole or not at all; file descriptors travel beside it (SCM_RIGHTS). The end of one
side is the end of file for the other, however it died.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from .fd_batches import MAX_FDS, Parcel, parts_of
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
"""Bytes; the longest message is a traceback, which is cut to fit."""
MAX_TEXT = 64 * 1024
"""Bytes of a text in a message."""
CLOSE_ON_EXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
"""For received file descriptors, which no program that this process starts is to have (recvmsg(2))."""

In = TypeVar("In")
Out = TypeVar("Out")


def fitting(text: str) -> str:
    """Return a text that a message can hold: of a longer one the end, which says what happened, and how long it was.

    What UTF-8 has no bytes for, such as the surrogates of a file name (os.fsdecode), becomes an escape.
    """
    data = text.encode(errors="backslashreplace")
    if len(data) <= MAX_TEXT:
        return data.decode()
    return f"... ({len(data)} bytes)\n{data[-MAX_TEXT:].decode(errors='ignore')}"


class ChannelClosed(Exception):  # noqa: N818 - an end, not always an error
    """The other side is gone."""


class GarbledMessage(Exception):  # noqa: N818
    """A packet that is none of the messages that this side understands."""


class DescriptorsLost(Exception):  # noqa: N818
    """A message came whole, but not the file descriptors beside it: this process is at its limit (RLIMIT_NOFILE).

    :ivar message: the message
    """

    def __init__(self, message: Any) -> None:
        super().__init__(f"no file descriptor is left for those that came with {type(message).__name__}")
        self.message = message


class Channel(Generic[In, Out]):
    """One end of the line; it never blocks.

    :param sock: the SEQPACKET socket
    :param understands: the type, or the union, of the messages that may come in
    """

    def __init__(self, sock: socket.socket, understands: Any) -> None:
        sock.setblocking(False)  # noqa: FBT003
        self._sock = sock
        self._encode = msgspec.msgpack.Encoder().encode
        self._decoder: msgspec.msgpack.Decoder[In] = msgspec.msgpack.Decoder(understands)

    def fileno(self) -> int:
        """Return the file descriptor, to wait on."""
        return self._sock.fileno()

    def send(self, message: Out, fds: Sequence[int] = ()) -> None:
        """Send a message.

        :param fds: at most `MAX_FDS`
        :raises ChannelClosed: the other side is gone
        :raises BlockingIOError: the other side has not read for long
        :raises OSError: the kernel does not take them, such as ETOOMANYREFS where too many are on their way (unix(7))
        """
        data = self._encode(message)
        try:
            if fds:
                socket.send_fds(self._sock, [data], list(fds))
            else:
                self._sock.send(data)
        except (BrokenPipeError, ConnectionResetError):
            raise ChannelClosed from None

    def send_parcel(self, message: Parcel, fds: Sequence[int]) -> None:
        """Send a message with any number of file descriptors, in as many parts as that takes.

        :raises ChannelClosed: as `send`, as for the other errors; what was sent of it is begun anew by the next try
        """
        for part, last, some in parts_of(fds):
            whole: Any = msgspec.structs.replace(message, part=part, last=last)
            self.send(whole, some)

    def receive(self) -> tuple[In, list[int]] | None:
        """Return the next message with its file descriptors, which are the caller's to close; None: none yet.

        :raises ChannelClosed: the other side is gone
        :raises GarbledMessage: what came is no message
        :raises DescriptorsLost: what came with it did not arrive, or not all
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
                raise GarbledMessage("a message that was cut off")
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
    """Return a packet, the file descriptors beside it and flags of recvmsg(2).

    As `socket.recv_fds`, which does not hand flags on in each version of Python.
    """
    fds = array.array("i")
    room = socket.CMSG_SPACE(MAX_FDS * fds.itemsize)
    data, ancillary, flags, _ = sock.recvmsg(MAX_MESSAGE, room, CLOSE_ON_EXEC)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, list(fds), flags


def channel_pair() -> tuple[Channel[FromWorker, ToWorker], Channel[ToWorker, FromWorker]]:
    """Return the supervisor's end and the worker's end of a new line."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours, FromWorker), Channel(theirs, ToWorker)


def watch_channel_pair() -> tuple[Channel[FromWatcher, None], Channel[None, FromWatcher]]:
    """Return the supervisor's end and the watcher's end of a new line; the supervisor says nothing on it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours, FromWatcher), Channel(theirs, None)
