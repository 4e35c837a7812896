"""A source of events, such as a server, a subscription or a timer. The listener opens, drains and aborts it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ..errors import ListenerError
from ..process.safe_logging import log_safely

if TYPE_CHECKING:
    from .listener import Listener

__all__ = ["GuardedSource", "Source", "take_in"]

logger = logging.getLogger("tiny_listener")


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


class GuardedSource(Source):
    """An open source, behind a wall: what it raises while it drains is logged, and harms no other source.

    :param source: the source
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._has_failed = False
        self.name = source.name

    @property
    def in_flight(self) -> int:
        """See `Source`; 0 where it fails."""
        try:
            return int(self._source.in_flight)
        except BaseException as exc:
            self._log_count(exc)
            return 0

    @property
    def open_connections(self) -> int:
        """See `Source`; 0 where it fails."""
        try:
            return int(self._source.open_connections)
        except BaseException as exc:
            self._log_count(exc)
            return 0

    def drain(self) -> None:
        """See `Source`."""
        try:
            self._source.drain()
        except BaseException as exc:
            self._log("drain()", exc)

    async def wait_drained(self) -> None:
        """See `Source`."""
        try:
            await self._source.wait_drained()
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            self._log("wait_drained()", exc)

    def abort(self) -> list[str]:
        """See `Source`."""
        try:
            return [str(what) for what in self._source.abort()]
        except BaseException as exc:
            self._log("abort()", exc)
            return [f"the source {self.name!r}"]

    def _log_count(self, error: BaseException) -> None:
        if not self._has_failed:  # it is asked ten times a second
            self._has_failed = True
            self._log("in_flight or open_connections", error)

    def _log(self, what: str, error: BaseException) -> None:
        log_safely(logger, logging.ERROR, "%s of the source %r failed", what, self.name, exc_info=error)


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

    :raises Exception: what it raised
    :raises ListenerError: something else cancelled it: it would take no events in, and nobody would know
    """
    running = asyncio.ensure_future(source.run())
    listener.lifecycle.runs.append(running)
    try:
        await asyncio.wait({running})
    finally:
        running.cancel()
    if not running.cancelled():
        running.result()
    elif not listener.lifecycle.is_stopping:
        raise ListenerError(f"run() of the source {source.name!r} was cancelled, and not by its listener")
