"""The published events of an application under test: they are kept in memory, and handled before a call returns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Final

from ...core.publishing.embedded import EmbeddedCarrier, in_memory

if TYPE_CHECKING:
    from ...core.listener import Listener

__all__ = ["carried_in_memory", "handled", "publishing"]

PATIENCE: Final = 1.0
"""Seconds that the handlers of published events may take after a request."""
LOOK: Final = 0.001
"""Seconds between two looks whether they have ended."""


@contextlib.contextmanager
def carried_in_memory(app: Listener[Any]) -> Iterator[None]:
    """Let an application store its events in memory, unless it was given a carrier, while the block runs."""
    before = app.host.carrier
    if before is None:
        app.host.carrier = in_memory()
    try:
        yield
    finally:
        app.host.carrier = before


@contextlib.asynccontextmanager
async def publishing(app: Listener[Any]) -> AsyncIterator[None]:
    """Let an application that does not run publish and handle events, while the block runs."""
    if app.publisher is not None or all(route.is_http for route in app.router):
        yield
        return
    from ...core.publishing.publisher import Publisher  # noqa: PLC0415 - only applications with such routes need it

    publisher = Publisher(app, app.host.carrier or in_memory())
    await app.event_pool.open(app)
    await publisher.consumer.open(app)
    app.publisher = publisher
    try:
        yield
    finally:
        app.publisher = None
        await publisher.close()
        app.event_pool.close()


async def handled(app: Listener[Any]) -> None:
    """Return when no published event can be handled now, or after a second. Delays and retries stay."""
    publisher = app.publisher
    if publisher is None or not isinstance(carrier := publisher.provider, EmbeddedCarrier):
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while publisher.consumer.client.is_busy or (carrier.service is not None and carrier.service.is_busy):  # noqa: ASYNC110
                await asyncio.sleep(LOOK)
