"""Whether what this server has is surely its own: after a pause, or a silence of NATS, others may have it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from ..connection import Connection
from .members import LEASE

__all__ = ["SILENT", "Fence"]

logger = logging.getLogger("tiny_listener.carrier")

WATCH: Final = 0.5
"""Seconds between two looks at the connection."""
SILENT: Final = 8.0
"""Seconds without a sign of the server after which nothing is started. Others take over after `LEASE`."""


class Fence:
    """Watches the connection by the monotonic clock.

    :param check: looks at which consumers are ours. Returns False if that cannot be told by now
    :param deafen: called when heartbeats of others may have been missed
    :param stop: called when all that is in flight must be stopped
    """

    def __init__(
        self,
        connection: Connection,
        check: Callable[[], Awaitable[bool]],
        deafen: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        self._connection: Final = connection
        self._check: Final = check
        self._deafen: Final = deafen
        self._stop: Final = stop
        self._sure_at = time.monotonic()
        self._checking: asyncio.Task[None] | None = None
        self._is_clear = True

    @property
    def is_sure(self) -> bool:
        """Whether what we have is ours."""
        return time.monotonic() - self._sure_at < SILENT

    async def run(self) -> None:
        """Watch until cancelled."""
        last = time.monotonic()
        has_stopped = False
        while True:
            await asyncio.sleep(WATCH)
            now = time.monotonic()
            paused, last = now - last > SILENT / 2, now
            if paused:
                self._deafen()
            if paused or not self.is_sure or not self._is_clear:
                if self._connection.is_connected:
                    await self.look()
            elif now - self._connection.heard < SILENT / 2:
                self._sure_at = now
            if now - self._sure_at < LEASE:
                has_stopped = False
            elif not has_stopped:
                has_stopped = True
                logger.error("NATS was silent for %g s: what is in flight is stopped, for others may have it", LEASE)
                self._stop()

    async def look(self) -> None:
        """Look at what is ours."""
        self._is_clear = await self._check()
        if self._is_clear:
            self._sure_at = time.monotonic()

    def doubt(self) -> None:
        """Nobody answers for one of our consumers: look at what is ours."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.ensure_future(self.look())
