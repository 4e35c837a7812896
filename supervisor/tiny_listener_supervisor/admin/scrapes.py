"""Scrapes: metrics pages are rendered one at a time, without blocking the event loop.

Rendering a page with 100,000 samples takes seconds. It is done in steps of a few milliseconds. Clients that ask while a
page is being rendered share the next one: any number of clients causes only one rendering at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from tiny_listener.http import ClientDisconnectedError

if TYPE_CHECKING:
    from tiny_listener_metrics import Counts, Exposition

__all__ = ["LOOK", "Scrapes"]

T = TypeVar("T")

LOOK = 100
"""Steps between two checks whether the client is still connected. A client that closed only its own side counts as
gone, as it does for nginx, which logs status 499 for it. A page with fewer steps is sent to it anyway."""


class Scrapes:
    """Renders metrics pages.

    :param exposition: renders the metrics
    """

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._lock = asyncio.Lock()
        self._begun = 0
        """Number of pages whose rendering has started."""
        self._waiting = 0
        """Number of clients that wait for the lock."""
        self._last: dict[tuple[str, bool], tuple[int, bytes]] = {}
        """The last page of each kind, with its number, while clients wait that could share it."""

    async def page(
        self, accept: str | None, *, gzip: bool, is_gone: Callable[[], bool] = lambda: False
    ) -> tuple[bytes, str]:
        """Render a page; return it and its content type.

        :param accept: the value of the Accept field; None: it is absent
        :param is_gone: whether the client has disconnected
        :raises ClientDisconnectedError: it has
        """
        pieces, content_type = self._exposition.pieces(accept)
        kind, begun = (content_type, gzip), self._begun
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1
        try:
            number, body = self._last.get(kind, (0, b""))
            if number <= begun:  # otherwise its rendering started after this scrape arrived: it is current
                self._begun = number = self._begun + 1
                body = await self._make(pieces, gzip=gzip, is_gone=is_gone)
                self._last[kind] = number, body
            return body, content_type
        finally:
            if not self._waiting:
                self._last.clear()
            self._lock.release()

    async def counts(self) -> Counts:
        """Return the counts for the status page."""
        from tiny_listener_metrics.overview import count  # noqa: PLC0415 - only where there are metrics

        async with self._lock:
            totals = await _in_steps(self._exposition.ledger.read())
        return await _in_steps(count(totals))

    async def compressed(self, body: bytes) -> bytes:
        """Compress a body with gzip."""
        from tiny_listener_metrics.exposition import compress  # noqa: PLC0415 - as above

        pieces = []
        for piece in compress((body,)):
            pieces.append(piece)
            await asyncio.sleep(0)
        return b"".join(pieces)

    async def _make(self, pieces: Generator[bytes, None, None], *, gzip: bool, is_gone: Callable[[], bool]) -> bytes:
        from tiny_listener_metrics.exposition import compress  # noqa: PLC0415 - as above

        body = []
        with closing(pieces), closing(compress(pieces) if gzip else pieces) as steps:
            for number, piece in enumerate(steps, 1):
                if piece:
                    body.append(piece)
                if number % LOOK == 0 and is_gone():
                    raise ClientDisconnectedError("the client closed the connection before its page was complete")
                await asyncio.sleep(0)
        return b"".join(body)


async def _in_steps(steps: Generator[None, None, T]) -> T:
    with closing(steps):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            await asyncio.sleep(0)
