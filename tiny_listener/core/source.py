"""A source of events: a server, a subscription, a clock. A listener opens its sources, drains them, and ends them."""

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
