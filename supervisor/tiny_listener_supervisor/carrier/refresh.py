"""Asks for a view again, and bounds how long its readers wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["VIEW_TIME", "Refresh"]

VIEW_TIME = 0.5
"""Seconds that a status or a scrape waits for the carrier's view; then it shows the last one."""


class Refresh:
    """Asks at most one question at a time: who comes meanwhile waits for its answer.

    :param ask: asks, and keeps the answer
    """

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._asking: asyncio.Future[object] | None = None

    async def __call__(self) -> None:
        """Wait until the question is answered, at most `VIEW_TIME` seconds."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())
        await asyncio.wait((self._asking,), timeout=VIEW_TIME)
