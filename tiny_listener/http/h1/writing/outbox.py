"""What the connections of a server have to write, until the end of a loop iteration.

PERF: each write wakes up a client, and a system call leaves cold caches behind. Back to back, at the end of an
iteration, writes cost a third of what they cost one by one; and all data of one connection is written in one call.

Isolation: the queue is emptied before the first byte is written, and a connection whose transport raises is dropped
alone. The data of the others is written anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..connection import HTTPConnection

__all__ = ["MAX_UNWRITTEN", "Entry", "Outbox"]

MAX_UNWRITTEN = 32
"""Pieces of one connection that may wait for the end of an iteration, such as responses to pipelined requests."""

Entry: TypeAlias = "tuple[HTTPConnection, bytes | list[bytes]]"


class Outbox:
    """Bytes by connection, in the order in which they were added.

    :param call_soon: calls a function at the end of the loop iteration
    :param before: called before anything is written, so that a response is counted before the client sees it
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], before: Callable[[], None]) -> None:
        self._call_soon = call_soon
        self._before = before
        self.entries: list[Entry] = []
        """PERF: the fast path appends to it directly, so the list object never changes."""
        self.closing: list[HTTPConnection] = []
        """Connections to close once their data is written."""
        self.is_held = False
        """Whether the caller is going to call `flush` soon."""
        self._is_scheduled = False

    def add(self, connection: HTTPConnection, data: bytes) -> None:
        """Write soon: together with everything that is ready at the end of this iteration."""
        entries = self.entries
        last = entries[-1] if entries else None
        if last is None or last[0] is not connection:
            entries.append((connection, [data]))
            if not (self.is_held or self._is_scheduled):
                self._is_scheduled = True
                self._call_soon(self._flush_scheduled)
            return
        together = last[1]
        if isinstance(together, list):
            together.append(data)
            if len(together) >= MAX_UNWRITTEN:
                self.flush()
        else:
            entries[-1] = (connection, [together, data])

    def _flush_scheduled(self) -> None:
        self._is_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write everything."""
        entries = self.entries
        if entries:
            self._before()
            todo = entries.copy()
            entries.clear()
            for connection, data in todo:
                try:
                    if isinstance(data, bytes):
                        connection.transport.write(data)
                    elif not connection.is_lost:  # asyncio logs writes to a connection that broke in this iteration
                        connection.transport.write(b"".join(data))
                except BaseException as exc:
                    connection.write_failed(exc)
        if self.closing:
            closing, self.closing = self.closing, []
            for connection in closing:
                connection.close_transport()
