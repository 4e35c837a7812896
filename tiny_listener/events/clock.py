"""The clock of the carrier."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .envelope import Envelope

__all__ = ["Clock"]


class Clock:
    """Seconds since 1970, which never go backwards, even if the clock of the system is set."""

    def __init__(self) -> None:
        self._offset: Final = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return the time."""
        return self._offset + time.monotonic()

    def translate(self, envelope: Envelope) -> None:
        """Let an event that was just published have its times by this clock. It has them by that of the system, which
        may have been set since this one was made.
        """
        if envelope.due is None and envelope.expires is None:
            return
        shift = self() - time.time()
        if envelope.due is not None:
            envelope.due += shift
        if envelope.expires is not None:
            envelope.expires += shift

    def call_at(self, when: float, fn: Callable[[], None]) -> asyncio.TimerHandle | None:
        """Call a function of the running loop at a time; None: somebody else sees to that."""
        return asyncio.get_running_loop().call_later(max(0.0, when - self()), fn)
