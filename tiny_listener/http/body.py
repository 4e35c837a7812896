"""A body that arrives after the head of its request: the connection feeds it, the handler reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from .errors import BodyTooLargeError, ClientDisconnectedError

if TYPE_CHECKING:
    from .connection import HTTPConnection

__all__ = ["Body"]

SMALL = 4096
"""Bytes of a piece that is joined with the one before: a body in one-byte chunks takes no more memory than another."""


class Body:
    """The body of a request.

    :param connection: it is told when the handler takes or wants something
    :param expects_continue: whether the client waits for `100 Continue`
    """

    __slots__ = (
        "_connection",
        "_error",
        "_parts",
        "_size",
        "_waiter",
        "buffered",
        "expects_continue",
        "is_complete",
        "max_size",
    )

    def __init__(self, connection: HTTPConnection, *, expects_continue: bool) -> None:
        self._connection = connection
        self._parts: list[bytes | bytearray] = []
        self._size = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.buffered = 0
        """Bytes that arrived and were not taken yet."""
        self.expects_continue = expects_continue
        self.is_complete = False
        """Whether the whole of it has arrived."""
        self.max_size = 0
        """Bytes that it may have."""

    # --- the handler's side -----------------------------------------------------------------------

    async def stream(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces as they arrive; what was read is not kept.

        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client went away first
        """
        while True:
            if self._parts:
                piece = self._take()
                self._connection.intake.body_taken()
                yield piece
            elif self._error is not None:
                raise self._error
            elif self.is_complete:
                return
            else:
                self._connection.intake.body_wanted(self)
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter

    async def read(self) -> bytes:
        """Return all of it that was not read yet; raises as `stream`."""
        if self.is_complete and self._error is None:  # PERF: it is all here
            return self._take()
        return b"".join([piece async for piece in self.stream()])

    def _take(self) -> bytes:
        parts, self._parts = self._parts, []
        self.buffered = 0
        return b"".join(parts)

    # --- the connection's side ------------------------------------------------------------------

    @property
    def is_too_large(self) -> bool:
        """Whether more has arrived than it may have."""
        return self._size > self.max_size

    def feed(self, piece: bytes) -> None:
        """Take a piece in; without effect, but for `is_too_large`, when nobody wants it any more."""
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
        """The client went away."""
        self.fail(ClientDisconnectedError("the client closed the connection before its request was complete"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None
