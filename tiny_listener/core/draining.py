"""The beginning of a drain, as something that can be awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Draining"]


class Draining:
    """To be awaited, as often as one likes: it returns when the drain has begun, and at once from then on."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __await__(self) -> Generator[Any, Any, None]:
        yield from self._event.wait().__await__()

    @property
    def has_begun(self) -> bool:
        """Whether it has."""
        return self._event.is_set()

    def begin(self) -> None:
        """Wake whoever awaits it."""
        self._event.set()
