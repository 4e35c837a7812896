"""Runs events at once in a pooled task until they first suspend: the implementation of `Listener.dispatch_now`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ListenerError
from ..process.safe_logging import log_safely
from ..process.task_pool import Suspended, TaskPool
from .dispatch import conclude, log_failure, outcome_of, run_hooks, run_to_the_end
from .source import Source

if TYPE_CHECKING:
    from .aliases import AnyEvent
    from .hooks import Hooks
    from .listener import Listener

__all__ = ["EventPool", "OnEnd"]

logger = logging.getLogger("tiny_listener")

OnEnd: TypeAlias = "Callable[[AnyEvent], object]"


class EventPool(Source):
    """The task pool of a listener, and the suspended events of `dispatch_now` in it.

    The listener opens, drains and awaits it before all other sources, because their events run in its tasks.

    :param hooks: the hooks of the listener
    """

    name = "events"

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self.tasks: TaskPool | None = None
        """None unless the listener runs."""
        self._in_flight: set[_Dispatched] = set()
        self._drained: asyncio.Future[None] | None = None

    async def open(self, listener: Listener[Any]) -> None:
        """Create the pool. Its coroutines get copies of the context (contextvars) that startup callbacks have set."""
        self.tasks = TaskPool(asyncio.get_running_loop())

    def close(self) -> None:
        """End the idle tasks when the listener has ended."""
        tasks, self.tasks = self.tasks, None
        if tasks is not None:
            tasks.close()

    def dispatch(
        self,
        event: AnyEvent,
        timeout: float | None,
        on_end: OnEnd | None,
        around: Callable[[AnyEvent, Coroutine[Any, Any, Any]], Coroutine[Any, Any, Any]] | None = None,
    ) -> None:
        """Run an event; see `Listener.dispatch_now`. Exceptions of the application do not propagate.

        :param around: wraps the coroutine of hooks and handler
        :raises ListenerError: the listener is not running
        """
        if self.tasks is None:
            raise ListenerError("dispatch_now() needs a running listener: call it from a source or from a handler")
        dispatched = _Dispatched(self, event, on_end)
        route = event.route
        try:
            if timeout is None and route.is_plain:  # PERF: a handler costs a third less without hooks' coroutine
                coro = route.call(event)
            else:
                run = run_to_the_end if route.has_exits else run_hooks
                coro = run(event, self._hooks, timeout)
            if around is not None:
                coro = around(event, coro)
            value = self.tasks.run(coro, dispatched.ended)
        except BaseException as exc:
            dispatched.ended(None, exc)
        else:
            if type(value) is Suspended:
                dispatched.suspended = value
                self._in_flight.add(dispatched)
            else:
                dispatched.ended(value, None)

    def conclude(self, dispatched: _Dispatched, seconds: float) -> None:
        """Count an event that has ended, and remove it."""
        self._in_flight.discard(dispatched)
        conclude(dispatched.event, self._hooks, seconds)
        if self._drained is not None and not self._in_flight and not self._drained.done():
            self._drained.set_result(None)

    @property
    def in_flight(self) -> int:
        """See `Source`."""
        return len(self._in_flight)

    async def wait_drained(self) -> None:
        """See `Source`."""
        while self._in_flight:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def abort(self) -> list[str]:
        """See `Source`."""
        return [f"event {event.route.path!r}" for event in self.cancel(lambda _: True)]

    def cancel(self, which: Callable[[AnyEvent], bool]) -> list[AnyEvent]:
        """Cancel the handlers of some events in flight. Return these events."""
        some = [one for one in self._in_flight if which(one.event)]
        for one in some:
            one.cancel()
        return [one.event for one in some]


class _Dispatched:
    """One event in flight.

    :ivar suspended: the task that continues it; None until it suspends
    """

    __slots__ = ("_on_end", "_pool", "_started", "event", "suspended")

    def __init__(self, pool: EventPool, event: AnyEvent, on_end: OnEnd | None) -> None:
        self._pool = pool
        self._on_end = on_end
        self._started = perf_counter()
        self.event = event
        self.suspended: Suspended | None = None

    def cancel(self) -> None:
        """Cancel the handler."""
        if self.suspended is not None:
            self.suspended.cancel()

    def ended(self, value: Any, error: BaseException | None) -> None:
        """Hooks and handler have ended. Never raises."""
        event = self.event
        if error is None:
            event.result = value
        elif event.error is not error:
            event.fail(error, outcome_of(error))
        self._pool.conclude(self, perf_counter() - self._started)
        if self._on_end is None:
            if error is not None and not isinstance(error, asyncio.CancelledError):
                log_failure(event, error)
            return
        try:
            self._on_end(event)
        except BaseException as exc:
            log_safely(logger, logging.ERROR, "The on_end callback of %r failed", event.route.path, exc_info=exc)
