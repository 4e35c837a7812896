"""A body that arrives after the head of its request: the connection feeds it, the handler reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ..errors import BodyTooLargeError, ClientDisconnectedError

if TYPE_CHECKING:
    from ..ports import BodyFlow

__all__ = ["IncomingBody"]

SMALL = 4096
"""Pieces up to this number of bytes are appended to the previous one, so that a body in one-byte chunks takes no more
memory."""


class IncomingBody:
    """The body of a request.

    :param flow: notified when the handler reads or waits
    :param expects_continue: whether the client waits for `100 Continue`
    """

    __slots__ = (
        "_error",
        "_flow",
        "_parts",
        "_read",
        "_size",
        "_waiters",
        "buffered",
        "expects_continue",
        "is_complete",
        "max_size",
    )

    def __init__(self, flow: BodyFlow, *, expects_continue: bool) -> None:
        self._flow = flow
        self._parts: list[bytes | bytearray] = []
        self._size = 0
        self._error: Exception | None = None
        self._read: list[bytes] = []  # pieces that `read` has collected
        self._waiters: list[asyncio.Future[None]] = []
        self.buffered = 0
        """Bytes that arrived and have not been read yet."""
        self.expects_continue = expects_continue
        self.is_complete = False
        """Whether the whole body has arrived."""
        self.max_size = 0
        """Maximum size in bytes."""

    # --- the handler's side -----------------------------------------------------------------------

    async def stream(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces as they arrive; they are not kept.

        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client disconnected first
        """
        while True:
            if self._parts:
                piece = self._take()
                self._flow.body_taken()
                yield piece
            elif await self._ends():
                return

    async def read(self) -> bytes:
        """Return the whole body; raises as `stream`. It may be called again, also concurrently: what a cancelled call
        has read is kept.
        """
        while True:
            if self._parts:
                self._read.append(self._take())
                self._flow.body_taken()
            if await self._ends():
                if self._parts:
                    continue
                self._read = [b"".join(self._read)]
                return self._read[0]

    async def _ends(self) -> bool:
        """Wait for more, unless there is some. Return whether no more comes.

        :raises Exception: why it will never be complete
        """
        if self._parts:
            return False
        if self._error is not None:
            raise self._error
        if self.is_complete:
            return True
        self._flow.body_wanted(self)
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter
        return False

    def _take(self) -> bytes:
        parts, self._parts = self._parts, []
        self.buffered = 0
        return b"".join(parts)

    # --- the connection's side ------------------------------------------------------------------

    @property
    def is_too_large(self) -> bool:
        """Whether more has arrived than the limit."""
        return self._size > self.max_size

    def feed(self, piece: bytes) -> None:
        """Add a piece. If nothing reads the body any more, this only affects `is_too_large`."""
        self._size += len(piece)
        if self._error is None:
            if self._size > self.max_size:
                self.fail(BodyTooLargeError(self.max_size))
                return
            self._keep(piece)
            self._wake()

    def _keep(self, piece: bytes) -> None:
        parts = self._parts
        self.buffered += len(piece)
        if len(piece) > SMALL:
            parts.append(piece)
        elif parts and isinstance(last := parts[-1], bytearray):
            last += piece
        else:
            parts.append(bytearray(piece))

    def finish(self) -> None:
        """It is complete."""
        self.is_complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """It will never be complete."""
        if not self.is_complete and self._error is None:
            self._error = error
            self._parts = []
            self.buffered = 0
            self._wake()

    def disconnect(self) -> None:
        """The client disconnected."""
        self.fail(ClientDisconnectedError("the client closed the connection before its request was complete"))

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
