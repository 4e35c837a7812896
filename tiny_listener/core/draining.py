"""An awaitable that returns when the drain begins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Draining"]


class Draining:
    """Await it, any number of times, to wait until the drain has begun."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __await__(self) -> Generator[Any, Any, None]:
        yield from self._event.wait().__await__()

    @property
    def has_begun(self) -> bool:
        """Whether the drain has begun."""
        return self._event.is_set()

    def begin(self) -> None:
        """Wake all waiters."""
        self._event.set()
