"""A listener that runs in the loop of a test, with the carrier in its process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tiny_listener import Listener
from tiny_listener.core.publishing.embedded import EmbeddedCarrier
from tiny_listener.core.runtime import Host
from tiny_listener.events.service import EventService
from tiny_listener.events.settings import EventSettings, Limits


class App(Listener[Any]):
    """Has no source but published events."""

    async def listen(self) -> None:
        """Nothing to open."""

    @property
    def service(self) -> EventService:
        """The carrier."""
        assert isinstance(self.host.carrier, EmbeddedCarrier)
        assert self.host.carrier.service is not None
        return self.host.carrier.service


@contextlib.asynccontextmanager
async def running(
    app: App, folder: Path | None = None, *, concurrency: int = 100, graceful_timeout: float = 30.0, **limits: Any
) -> AsyncIterator[None]:
    """Run a listener while the block runs."""
    ready = asyncio.Event()
    settings = EventSettings(None if folder is None else str(folder), concurrency=concurrency, limits=Limits(**limits))
    app.host = Host(carrier=EmbeddedCarrier(settings), on_ready=ready.set, graceful_timeout=graceful_timeout)
    life = asyncio.ensure_future(app.main())
    waiting = asyncio.ensure_future(ready.wait())
    await asyncio.wait({life, waiting}, return_when="FIRST_COMPLETED")
    waiting.cancel()
    if life.done():
        life.result()
    try:
        yield
    finally:
        await app.graceful_shutdown()
        await life


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return as soon as a condition is true; other code of the loop runs meanwhile."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
