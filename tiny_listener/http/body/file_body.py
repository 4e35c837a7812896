"""The bytes of an open file: read in pieces, or sent by the kernel. Always off the event loop, because a disk may be
slow.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

__all__ = ["PIECE", "FileBody"]

PIECE = 256 * 1024
"""Bytes that are read at a time."""
MAX_SENT = 1024 * 1024
"""Bytes that the kernel is asked to send at a time: a pool thread is occupied for that long."""

T = TypeVar("T")


class FileBody(AsyncIterator[bytes]):
    """A part of an open file; it owns the descriptor.

    :ivar length: total number of bytes
    :ivar left: bytes that are still to come
    """

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self._fd = fd
        self._sockets: list[int] = []
        self._working: asyncio.Future[Any] | None = None
        self.limit(offset, length)

    def limit(self, offset: int, length: int) -> None:
        """Restrict it to these bytes."""
        self._offset = offset
        self.length = self.left = length

    async def __anext__(self) -> bytes:
        """Return the next piece.

        :raises EOFError: the file was truncated: the announced length can no longer be sent
        """
        if not self.left:
            raise StopAsyncIteration
        piece = await self._off_the_loop(os.pread, self._fd, min(PIECE, self.left), self._offset)
        self._take(len(piece))
        return piece

    def own_socket(self, fd: int) -> None:
        """Take ownership of the descriptor of a socket, to close it together with the file."""
        self._sockets.append(fd)

    async def send_some(self, fd: int) -> None:
        """Let the kernel send as much as a socket accepts now (sendfile(2)).

        :param fd: of a non-blocking socket
        :raises EOFError: the file was truncated
        :raises BlockingIOError: the socket accepts nothing now
        :raises OSError: the connection is broken, or the kernel cannot send from this file
        """
        self._take(await self._off_the_loop(os.sendfile, fd, self._fd, self._offset, min(MAX_SENT, self.left)))

    async def aclose(self) -> None:
        """Close the file, once nothing reads it any more."""
        self._release()

    def __del__(self) -> None:
        self._release()  # a response hook replaced the response, and nothing else knows the file

    def _release(self) -> None:
        fds = [fd for fd in (self._fd, *self._sockets) if fd >= 0]
        self._fd, self._sockets = -1, []
        if self._working is not None and not self._working.done():
            self._working.add_done_callback(lambda _: _close(fds))
        else:
            _close(fds)

    def _take(self, count: int) -> None:
        if not count:
            raise EOFError(f"the file ended {self.left} bytes early")
        self._offset += count
        self.left -= count

    async def _off_the_loop(self, function: Callable[..., T], *args: int) -> T:
        working = asyncio.get_running_loop().run_in_executor(None, function, *args)
        self._working = working
        return await asyncio.shield(working)  # a thread cannot be stopped: after a cancellation it runs to its end


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
