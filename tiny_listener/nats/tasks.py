"""The tasks of a connection to NATS."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

__all__ = ["Tasks"]

logger = logging.getLogger("tiny_listener.carrier")

AGAIN: Final = 1.0
"""Seconds until work is started again that has failed."""


class Tasks:
    """Runs coroutines, and refers to them: the loop does not."""

    def __init__(self) -> None:
        self._tasks: Final[set[asyncio.Future[Any]]] = set()

    def spawn(self, work: Awaitable[object]) -> None:
        """Run a coroutine to its end."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run what must never end, and again should it fail: that is a bug, and the log has it."""
        self.spawn(self._keep(work))

    @staticmethod
    async def _keep(work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception:
                logger.exception("A part of the connection to NATS failed, and is started again")
            await asyncio.sleep(AGAIN)

    def cancel(self) -> None:
        """Cancel all."""
        for task in list(self._tasks):
            task.cancel()
