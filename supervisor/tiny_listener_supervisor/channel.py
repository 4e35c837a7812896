"""The line between the supervisor and one of its children: a SEQPACKET socket pair (unix(7)).

A packet is one message, whole or not at all; file descriptors travel beside it (SCM_RIGHTS). The end of one
side is the end of file for the other, however it died.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from .messages import FromWatcher, FromWorker, ToWorker

__all__ = ["Channel", "ChannelClosed", "GarbledMessage", "channel_pair", "watch_channel_pair"]

MAX_MESSAGE = 128 * 1024
"""Bytes; the longest message is a traceback, which is cut to fit."""
MAX_FDS = 64

In = TypeVar("In")
Out = TypeVar("Out")


class ChannelClosed(Exception):  # noqa: N818 - an end, not always an error
    """The other side is gone."""


class GarbledMessage(Exception):  # noqa: N818
    """A packet that is none of the messages that this side understands."""


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

        :raises ChannelClosed: the other side is gone
        :raises BlockingIOError: the other side has not read for long
        """
        data = self._encode(message)
        try:
            if fds:
                socket.send_fds(self._sock, [data], list(fds))
            else:
                self._sock.send(data)
        except (BrokenPipeError, ConnectionResetError):
            raise ChannelClosed from None

    def receive(self) -> tuple[In, list[int]] | None:
        """Return the next message with its file descriptors, which are the caller's to close; None: none yet.

        :raises ChannelClosed: the other side is gone
        :raises GarbledMessage: what came is no message
        """
        try:
            data, fds, flags, _ = socket.recv_fds(self._sock, MAX_MESSAGE, MAX_FDS)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            raise ChannelClosed from None
        if not data:
            raise ChannelClosed
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise GarbledMessage("a message that was cut off")
            return self._decoder.decode(data), fds
        except (msgspec.DecodeError, GarbledMessage) as exc:
            for fd in fds:
                os.close(fd)
            raise GarbledMessage(str(exc)) from None

    def close(self) -> None:
        """Close this end."""
        with contextlib.suppress(OSError):
            self._sock.close()


def channel_pair() -> tuple[Channel[FromWorker, ToWorker], Channel[ToWorker, FromWorker]]:
    """Return the supervisor's end and the worker's end of a new line."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours, FromWorker), Channel(theirs, ToWorker)


def watch_channel_pair() -> tuple[Channel[FromWatcher, None], Channel[None, FromWatcher]]:
    """Return the supervisor's end and the watcher's end of a new line; the supervisor says nothing on it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours, FromWatcher), Channel(theirs, None)
