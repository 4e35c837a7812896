"""A source of events: a server, a subscription, a clock. A listener opens its sources, drains them, and ends them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .listener import Listener

__all__ = ["Source", "take_in"]


class Source:
    """Takes events in from outside. Subclass it, define `open`, and give it to `Listener.add_source`.

    A listener has any number of sources. It opens them in the order in which they were added, and is ready when each
    `open` has returned. When a shutdown begins, each is told to `drain`; those that are not done within the graceful
    timeout are told to `abort`. Events that a source triggers with `listener.trigger_event` or `listener.dispatch_now`
    are waited for by the listener itself, before its sources: one may close its connection in `wait_drained`.
    """

    name = "source"
    """What the log calls it."""

    async def open(self, listener: Listener[Any]) -> None:
        """Connect, listen, subscribe. Return when events are taken in.

        What it raises ends the listener, and with it the worker: a source that reconnects does so in `run`.

        :param listener: to trigger events at
        """
        raise NotImplementedError(f"{type(self).__name__} must define `async def open(self, listener)`")

    async def run(self) -> None:
        """Take events in for as long as the listener runs, where nothing calls the source. Returns at once by default.

        It begins when every source is open, and is cancelled when the drain has ended, before the shutdown callbacks.
        What it raises ends the listener.
        """

    @property
    def in_flight(self) -> int:
        """Events that it has taken in and that have not ended, other than those that the listener counts itself."""
        return 0

    @property
    def open_connections(self) -> int:
        """How many connections clients have with it."""
        return 0

    def drain(self) -> None:
        """Take nothing new; let what is in flight finish."""

    async def wait_drained(self) -> None:
        """Return when nothing is in flight any more."""

    def abort(self) -> list[str]:
        """Drop what is still in flight; return a description of each event or connection, for the log."""
        return []


async def take_in(listener: Listener[Any]) -> None:
    """Open the sources of a listener one after the other, then run them, and its `listen()`, side by side.

    :raises Exception: what one of them raised
    """
    listener.lifecycle.opens = True
    if not listener.sources:
        await listener.listen()
        return
    with listener.lifecycle.opening():
        for source in listener.sources:
            await listener.open_source(source)
        await asyncio.sleep(0)  # the loop tells of the last servers in its next iteration
        listener.lifecycle.has_servers = False  # those of `listen()` are still to come
    listening = asyncio.ensure_future(listener.listen())
    listening.add_done_callback(lambda _: listener.ready())  # though sources run on
    running = [listening, *(asyncio.ensure_future(_run(source, listener)) for source in listener.sources)]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()


async def _run(source: Source, listener: Listener[Any]) -> None:
    """Run a source until the drain has ended.

    :raises Exception: what it raised
    """
    running = asyncio.ensure_future(source.run())
    listener.lifecycle.runs.append(running)
    try:
        await asyncio.wait({running})
    finally:
        running.cancel()
    if not running.cancelled():
        running.result()
