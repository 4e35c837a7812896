"""The bytes of an open file: read in pieces, or sent by the kernel, and always off the loop, for a disk may be slow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

__all__ = ["PIECE", "FileBody"]

PIECE = 256 * 1024
"""Bytes that are read at once."""
MAX_SENT = 1024 * 1024
"""Bytes that the kernel is asked to send at once: a thread of the pool is taken for so long."""

T = TypeVar("T")


class FileBody(AsyncIterator[bytes]):
    """A part of an open file, whose descriptor it owns.

    :ivar length: bytes that are to come in all
    :ivar left: bytes that are still to come
    """

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self._fd = fd
        self._sockets: list[int] = []
        self._working: asyncio.Future[Any] | None = None
        self.limit(offset, length)

    def limit(self, offset: int, length: int) -> None:
        """Give these bytes only."""
        self._offset = offset
        self.length = self.left = length

    async def __anext__(self) -> bytes:
        """Return the next piece.

        :raises EOFError: the file has become shorter: what was promised cannot be sent any more
        """
        if not self.left:
            raise StopAsyncIteration
        piece = await self._off_the_loop(os.pread, self._fd, min(PIECE, self.left), self._offset)
        self._take(len(piece))
        return piece

    def own_socket(self, fd: int) -> None:
        """Take over the descriptor of a socket, to close it with that of the file."""
        self._sockets.append(fd)

    async def send_some(self, fd: int) -> None:
        """Let the kernel send what a socket takes now (sendfile(2)).

        :param fd: of a socket that does not block
        :raises EOFError: the file has become shorter
        :raises BlockingIOError: the socket takes nothing now
        :raises OSError: the connection is broken, or the file is none that the kernel can send
        """
        self._take(await self._off_the_loop(os.sendfile, fd, self._fd, self._offset, min(MAX_SENT, self.left)))

    async def aclose(self) -> None:
        """Close the file, when nobody reads it any more."""
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
        return await asyncio.shield(working)  # a thread cannot be stopped: whoever is cancelled leaves it to end


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
