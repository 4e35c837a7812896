"""The life of a listener in its process, as a table of named states.

    new ──start──> starting ──become_ready──> ready ──drain──> draining ──stop──> stopped
                      └──────────────────────drain──────────────^

Draining: servers stop accepting, sources finish what they have in hand, running events end, shutdown
callbacks run; what is left after the graceful timeout is cancelled and named in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from enum import Enum
from typing import TYPE_CHECKING, Any

from .descriptors import DescriptorWatch
from .errors import ListenerError

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._typing import CoroFunc
    from .dispatch import EventTask
    from .host import Host
    from .source import Source

__all__ = ["Draining", "IllegalStep", "Lifecycle", "State"]

logger = logging.getLogger("tiny_listener")

READY_AFTER = 1.0
"""Seconds after which a `listen()` that neither returns nor opens servers counts as ready: it consumes."""


class State(Enum):
    """Where a listener is in its life."""

    NEW = "new"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


STEPS: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.STARTING}),
    State.STARTING: frozenset({State.READY, State.DRAINING}),
    State.READY: frozenset({State.DRAINING}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset({State.STARTING}),
}


class IllegalStep(ListenerError):  # noqa: N818
    """A step that the table of states does not have."""

    def __init__(self, old: State, new: State) -> None:
        super().__init__(f"a listener that is {old.value} cannot become {new.value}")


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


class Lifecycle:
    """The life of one listener, and what has to end before it may."""

    def __init__(self) -> None:
        self.state = State.NEW
        self.startup: list[CoroFunc] = []
        self.shutdown: list[CoroFunc] = []
        self.sources: list[Source] = []
        self.running: set[EventTask] = set()
        self._reset()

    def _reset(self) -> None:
        self._is_ready = asyncio.Event()
        self.draining = Draining()
        self._asked_to_stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopped = asyncio.Event()

    def step(self, new: State) -> None:
        """Go on to a state.

        :raises IllegalStep: it cannot follow on the present one
        """
        if new not in STEPS[self.state]:
            raise IllegalStep(self.state, new)
        self.state = new

    @property
    def in_progress(self) -> int:
        """How many events have begun and not ended, whatever their source."""
        return len(self.running) + sum(source.in_hand for source in self.sources)

    @property
    def connections(self) -> int:
        """How many connections clients have with the sources."""
        return sum(source.open_connections for source in self.sources)

    def ready(self) -> None:
        """Say that events are taken in from now on (before `listen()` returns, or where it never does)."""
        self._is_ready.set()

    async def wait_for_shutdown(self) -> None:
        """Return when a shutdown was asked for."""
        await self._asked_to_stop.wait()

    async def live(self, listen: CoroFunc, host: Host) -> None:
        """Live from start to stop: returns when a shutdown is complete.

        :raises Exception: what a startup callback or `listen()` raised
        """
        self._reset()
        self.step(State.STARTING)
        loop: Any = asyncio.get_running_loop()
        asked = asyncio.ensure_future(self.wait_for_shutdown())
        listening: asyncio.Future[Any] | None = None
        descriptors = DescriptorWatch()
        try:
            for callback in self.startup:
                await callback()
            if hasattr(loop, "servers"):
                loop.on_servers = self.ready
            listening = asyncio.ensure_future(listen())
            became = asyncio.ensure_future(self._is_ready.wait())
            awaited = {listening, became, asked}
            while not (await asyncio.wait(awaited, timeout=READY_AFTER, return_when="FIRST_COMPLETED"))[0]:
                if not getattr(loop, "opening", 0):
                    break
            became.cancel()
            if listening.done():
                listening.result()
            if self.state is State.STARTING:
                self._is_ready.set()
                self.step(State.READY)
                host.on_ready()
                descriptors.start()
            if not listening.done():
                await asyncio.wait({listening, asked}, return_when="FIRST_COMPLETED")
            if listening.done() and not listening.cancelled():
                listening.result()
            await asked
            await self._stopped.wait()
        finally:
            descriptors.stop()
            asked.cancel()
            if listening is not None:
                listening.cancel()
                await asyncio.wait({listening})
            if self.state is not State.STOPPED:
                await self.stop(host)

    async def stop(self, host: Host) -> None:
        """Shut down; a second call while the first runs makes it hurry."""
        if self.state in (State.DRAINING, State.STOPPED):
            self._hurry.set()
            await self._stopped.wait()
            return
        self.step(State.DRAINING)
        self._asked_to_stop.set()
        if host.drain_delay:
            # Whoever balances the load looks at readiness now and then: until it has, events still come.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), host.drain_delay)
        # Not before: a client that a handler sends away during the delay would come back to this process.
        self.draining.begin()
        for server in getattr(asyncio.get_running_loop(), "servers", ()):
            server.close()
        for source in self.sources:
            source.drain()
        await self._finish_in_hand(host.graceful_timeout)
        for callback in self.shutdown:
            try:
                await callback()
            except Exception:
                logger.exception("Shutdown callback %s failed", getattr(callback, "__name__", callback))
        self.step(State.STOPPED)
        self._stopped.set()

    async def _finish_in_hand(self, timeout: float) -> None:  # noqa: ASYNC109
        in_hand = asyncio.ensure_future(self._drained())
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait({in_hand, hurry}, timeout=timeout, return_when="FIRST_COMPLETED")
        finished = in_hand.done()
        in_hand.cancel()
        hurry.cancel()
        if finished:
            return
        why = "a second signal" if self._hurry.is_set() else f"the graceful timeout of {timeout:g} s"
        left = [f"event {task.get_name()!r}" for task in self.running]
        for task in list(self.running):
            task.cancel()
        for source in self.sources:
            left += source.abort()
        if left:
            logger.warning("Cancelled after %s: %s", why, ", ".join(left[:20]) + (", ..." if len(left) > 20 else ""))

    async def _drained(self) -> None:
        while self.running:
            await asyncio.wait(set(self.running))
        for source in self.sources:
            await source.wait_drained()
        for server in getattr(asyncio.get_running_loop(), "servers", ()):
            await server.wait_closed()  # of uvloop's: until its connections have ended
        while self.running:
            await asyncio.wait(set(self.running))
