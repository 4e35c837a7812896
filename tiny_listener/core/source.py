"""A source of events, such as a server, a subscription or a timer. The listener opens, drains and aborts it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .listener import Listener

__all__ = ["Source", "take_in"]


class Source:
    """Receives events from outside. Subclass it, define `open`, and pass it to `Listener.add_source`.

    A listener can have any number of sources. It opens them in the order in which they were added, and is ready when
    every `open` has returned. At shutdown it calls `drain` on each source, and `abort` on those that do not finish
    within the graceful timeout. It waits for events triggered with `listener.trigger_event` or `listener.dispatch_now`
    before it waits for the sources, so a source may close its connection in `wait_drained`.
    """

    name = "source"
    """Its name in the log."""

    async def open(self, listener: Listener[Any]) -> None:
        """Connect, listen or subscribe. Return when events can arrive.

        An exception ends the listener and its worker. A source that reconnects should do so in `run`.

        :param listener: the listener to trigger events with
        """
        raise NotImplementedError(f"{type(self).__name__} must define `async def open(self, listener)`")

    async def run(self) -> None:
        """Receive events in a loop, for sources without callbacks. By default it returns at once.

        It starts when every source is open, and is cancelled after the drain, before the shutdown callbacks. An
        exception ends the listener.
        """

    @property
    def in_flight(self) -> int:
        """Number of its events in flight, without those that the listener itself counts."""
        return 0

    @property
    def open_connections(self) -> int:
        """Number of open client connections."""
        return 0

    def drain(self) -> None:
        """Accept no new events; let those in flight finish."""

    async def wait_drained(self) -> None:
        """Wait until nothing is in flight."""

    def abort(self) -> list[str]:
        """Drop what is still in flight. Return a description of each dropped event or connection, for the log."""
        return []


async def take_in(listener: Listener[Any]) -> None:
    """Open the sources of a listener in order, then run them and `listen()` concurrently.

    :raises Exception: raised by one of them
    """
    listener.lifecycle.opens = True
    if not listener.sources:
        await listener.listen()
        return
    with listener.lifecycle.opening():
        for source in listener.sources:
            await listener.open_source(source)
        await asyncio.sleep(0)  # the loop reports the last servers in its next iteration
        listener.lifecycle.has_servers = False  # `listen()` has not opened its servers yet
    listening = asyncio.ensure_future(listener.listen())
    listening.add_done_callback(lambda _: listener.ready())  # sources may run on
    running = [listening, *(asyncio.ensure_future(_run(source, listener)) for source in listener.sources)]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()


async def _run(source: Source, listener: Listener[Any]) -> None:
    """Run a source until the drain has ended.

    :raises Exception: raised by the source
    """
    running = asyncio.ensure_future(source.run())
    listener.lifecycle.runs.append(running)
    try:
        await asyncio.wait({running})
    finally:
        running.cancel()
    if not running.cancelled():
        running.result()
