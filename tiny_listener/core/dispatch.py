"""The dispatch of one event: hooks before, the handler, hooks after, error handlers; and the task it runs in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import HandlerExit
from ..process.safe_logging import log_safely
from ..process.tracebacks import without_our_frames

if TYPE_CHECKING:
    from contextvars import Context as ContextVars

    from .aliases import AnyEvent
    from .injection import Hook
    from .observer import Outcome

__all__ = ["EventTask", "Hooks", "Watcher", "conclude", "dispatch", "log_failure", "outcome_of", "run_hooks"]

logger = logging.getLogger("tiny_listener")


class Watcher(Protocol):
    """Follows each event of a listener, from before its hooks to after them; neither call may raise."""

    def began(self, event: AnyEvent) -> None:
        """An event is about to be handled; this is in its own context (contextvars)."""

    def ended(self, event: AnyEvent) -> None:
        """An event has its result, or its error."""


class Hooks:
    """The hooks of a listener, each kind in the order of registration."""

    __slots__ = ("after", "before", "dispatched", "on_error", "present", "watchers")

    def __init__(self) -> None:
        self.before: list[Hook] = []
        self.after: list[Hook] = []
        self.on_error: list[tuple[type[BaseException], Hook]] = []
        self.present = False
        """Whether there is any."""
        self.dispatched = 0
        """Events that were dispatched, in any outcome."""
        self.watchers: list[Watcher] = []
        """Who is told of each event when it begins and when it has ended."""

    def add_watcher(self, watcher: Watcher) -> None:
        """Tell somebody of each event: before the listener runs, for the server chooses its way by it."""
        self.watchers.append(watcher)
        self.present = True

    def add_before(self, hook: Hook) -> None:
        """Run a hook before each handler."""
        self.before.append(hook)
        self.present = True

    def add_after(self, hook: Hook) -> None:
        """Run a hook after each event that did not fail."""
        self.after.append(hook)
        self.present = True

    def add_on_error(self, kind: type[BaseException], hook: Hook) -> None:
        """Run a hook when an event fails with an exception of a class."""
        self.on_error.append((kind, hook))
        self.present = True


async def dispatch(event: AnyEvent, hooks: Hooks, timeout: float | None = None) -> Any:  # noqa: ASYNC109
    """Run an event in a task of its own, from its trigger to its end, and return its result; see `run_hooks`.

    :raises HandlerExit: a handler or hook raised SystemExit or KeyboardInterrupt; from a task these would end the loop
    """
    started = perf_counter()
    try:
        return await run_hooks(event, hooks, timeout)
    except (SystemExit, KeyboardInterrupt) as exc:
        raise HandlerExit(event.route.where, exc) from exc
    finally:
        conclude(event, hooks, perf_counter() - started)


async def run_hooks(event: AnyEvent, hooks: Hooks, timeout: float | None = None) -> Any:  # noqa: ASYNC109
    """Run an event through hooks and handler, and return its result.

    Hooks after the handler run only when nothing failed. All error handlers whose class fits run, in order;
    the first value that is not None becomes the event's result, and the error is not raised any more.

    :param timeout: seconds that the handler may take; hooks are not counted
    :raises BaseException: what the handler or a hook raised, when no error handler fits it
    """
    limit = None
    for watcher in hooks.watchers:
        watcher.began(event)
    try:
        for hook in hooks.before:
            await hook.call(event)
        if timeout is None:
            event.result = await event.route.call(event)
        else:
            async with asyncio.timeout(timeout) as limit:
                event.result = await event.route.call(event)
        for hook in hooks.after:
            await hook.call(event)
    except (asyncio.CancelledError, GeneratorExit) as exc:
        # Nothing may be awaited any more: the task is told to end.
        event.fail(exc, outcome_of(exc))
        raise
    except BaseException as exc:
        event.fail(exc, "timeout" if limit is not None and limit.expired() else "error")
        handlers = [hook for kind, hook in hooks.on_error if isinstance(exc, kind)]
        if not handlers:
            raise
        event.result = None
        for hook in handlers:
            value = await hook.call(event)
            if event.result is None:
                event.result = value
    return event.result


def outcome_of(error: BaseException) -> Outcome:
    """Return how an event ended that raised this, where no time limit was behind it."""
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "error"


def conclude(event: AnyEvent, hooks: Hooks, seconds: float) -> None:
    """Count an event whose handling ended, and let it be done. Raises nothing.

    :param seconds: since it was triggered
    """
    hooks.dispatched += 1
    event.route.observer.event_done(seconds, event.outcome)
    for watcher in hooks.watchers:
        try:
            watcher.ended(event)
        except BaseException as exc:
            log_safely(logger, logging.ERROR, "A watcher failed at the end of %r", event.route.path, exc_info=exc)
    if event.auto_done:
        event.done()


class EventTask(asyncio.Task[Any]):
    """The task in which a triggered event runs; its result is the event's.

    When it fails and nobody has shown an interest in it by then, the error is logged with the event's route,
    once and at once: asyncio's own report waits for the garbage collector, which may be long.
    """

    def __init__(
        self,
        coro: Coroutine[Any, Any, Any],
        loop: asyncio.AbstractEventLoop,
        event: AnyEvent,
        on_end: Callable[[EventTask], None],
    ) -> None:
        super().__init__(coro, loop=loop, name=event.route.path)
        self._event = event
        self._on_end = on_end
        self._awaited = False
        super().add_done_callback(self._ended)

    @property
    def event(self) -> AnyEvent:
        """The event that runs in this task."""
        return self._event

    def add_done_callback(self, fn: Callable[..., object], /, *, context: ContextVars | None = None) -> None:
        """See `asyncio.Task`; who asks to be called cares for the outcome."""
        self._awaited = True
        super().add_done_callback(fn, context=context)

    def __await__(self) -> Generator[Any, None, Any]:
        self._awaited = True
        return super().__await__()

    def result(self) -> Any:
        """See `asyncio.Task`."""
        self._awaited = True
        return super().result()

    def exception(self) -> BaseException | None:
        """See `asyncio.Task`."""
        self._awaited = True
        return super().exception()

    def _ended(self, _: asyncio.Task[Any]) -> None:
        self._on_end(self)
        if self.cancelled() or self._awaited:
            return
        error = super().exception()
        if error is not None:
            log_failure(self._event, error)


def log_failure(event: AnyEvent, error: BaseException) -> None:
    """Log an error that nobody handled, with the route whose event it ended. Raises nothing."""
    route = event.route
    with contextlib.suppress(BaseException):  # an exception of the application's may refuse
        error = without_our_frames(error)
    log_safely(logger, logging.ERROR, "Event %r failed in %s", route.path, route.where, exc_info=error)
