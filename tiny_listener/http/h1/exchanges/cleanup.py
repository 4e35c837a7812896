"""The run of an event whose dependencies must be cleaned up: in the task of its handler, after its response.

The coroutine does not return the handler's result but passes it to the exchange, and goes on when the response has been
sent or its client is gone. The request is in flight until then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ....core.dispatch import run_hooks
from ....core.injection import clean_up, exits_of

if TYPE_CHECKING:
    from ....core.aliases import AnyEvent
    from ....core.hooks import Hooks
    from ..pipeline import Pipeline
    from .exchange import Exchange

__all__ = ["run_event"]


def run_event(event: AnyEvent, hooks: Hooks) -> Coroutine[Any, Any, Any]:
    """Return the coroutine that runs hooks and handler of a request, and then the cleanup if there is any."""
    return _run_and_clean_up(event, hooks) if event.route.has_exits else run_hooks(event, hooks)


async def _run_and_clean_up(event: AnyEvent, hooks: Hooks) -> Any:
    value, error = None, None
    try:
        value = await run_hooks(event, hooks)
    except BaseException as exc:
        error = exc
    if exits_of(event):
        exchange = await _exchange_of(event)
        if exchange is not None:
            await _respond(exchange, value, error)
            await clean_up(event)
            return None
        await clean_up(event)
    if error is not None:
        raise error
    return value


async def _respond(exchange: Exchange, value: Any, error: BaseException | None) -> None:
    """Return when the response is sent or its client is gone, even if the coroutine is cancelled meanwhile."""
    sent = exchange.will_clean_up()
    try:
        exchange.conclude(value, error)
    except BaseException as exc:
        exchange.connection.fail(exc)
        return
    while not sent.done():
        with contextlib.suppress(asyncio.CancelledError):  # by `Exchange.cancel`, which ends the response too
            await asyncio.shield(sent)
    task = asyncio.current_task()
    if task is not None and task.cancelling():  # perhaps not delivered yet, as of a handler that cancelled itself last
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


async def _exchange_of(event: AnyEvent) -> Exchange | None:
    """Return the exchange of an event; None if its connection has failed."""
    pipeline: Pipeline = event.data["request"].connection.pipeline
    exchange = pipeline.exchange
    if exchange is None or exchange.event is not event or not exchange.was_suspended:
        # The caller makes the exchange, or tells it of this coroutine, when the coroutine suspends.
        with contextlib.suppress(asyncio.CancelledError):  # the handler has ended: its cleanup must not be lost
            await asyncio.sleep(0)
        exchange = pipeline.exchange
    return exchange if exchange is not None and exchange.event is event else None
