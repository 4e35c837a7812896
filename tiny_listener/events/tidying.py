"""When the store does what can wait: once nothing was written for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .clock import Clock

__all__ = ["TIDY_AFTER", "Tidying"]

TIDY_AFTER: Final = 1.0
"""Seconds without a transaction after which the store does what can wait."""


class Tidying:
    """Waits for a time without transactions.

    :param clock: of the carrier
    :param tidy: called with the time
    """

    def __init__(self, clock: Clock, tidy: Callable[[float], None]) -> None:
        self._clock: Final = clock
        self._tidy: Final = tidy
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_waiting = False

    def has_written(self) -> None:
        """A transaction has ended."""
        self._last = self._clock()
        if not self._is_waiting:
            self._wait()

    def _wait(self) -> None:
        self._is_waiting = True
        self._timer = self._clock.call_at(self._last + TIDY_AFTER, self._look)

    def _look(self) -> None:
        self._is_waiting = False
        now = self._clock()
        if now < self._last + TIDY_AFTER:
            self._wait()
        else:
            self._tidy(now)

    def cancel(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
