"""The dispatch of one event: before-hooks, handler, after-hooks, error handlers; and the task it runs in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import HandlerExit, ListenerError
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
    """Is called before and after each event of a listener. The methods must not raise."""

    def began(self, event: AnyEvent) -> None:
        """Called before the hooks of an event, in the context (contextvars) of that event."""

    def ended(self, event: AnyEvent) -> None:
        """Called when an event has its result or its error."""


class Hooks:
    """The hooks of a listener by kind, in the order of registration."""

    __slots__ = ("after", "before", "dispatched", "on_error", "present", "watchers")

    def __init__(self) -> None:
        self.before: list[Hook] = []
        self.after: list[Hook] = []
        self.on_error: list[tuple[type[BaseException], Hook]] = []
        self.present = False
        """Whether there is any hook or watcher."""
        self.dispatched = 0
        """Number of dispatched events, whatever their outcome."""
        self.watchers: list[Watcher] = []
        """Called when an event begins and when it has ended."""

    def add_watcher(self, watcher: Watcher) -> None:
        """Add a watcher. Call it before the listener runs, because the server configures its fast path by it."""
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
        """Run a hook when an event fails with an exception of class `kind`."""
        self.on_error.append((kind, hook))
        self.present = True


async def dispatch(event: AnyEvent, hooks: Hooks, timeout: float | None = None) -> Any:  # noqa: ASYNC109
    """Run an event in its task from trigger to end, and return its result; see `run_hooks`.

    :raises HandlerExit: a handler or hook raised SystemExit or KeyboardInterrupt, which would end the loop
    """
    started = perf_counter()
    try:
        return await run_hooks(event, hooks, timeout)
    except (SystemExit, KeyboardInterrupt) as exc:
        raise HandlerExit(event.route.where, exc) from exc
    finally:
        conclude(event, hooks, perf_counter() - started)


async def run_hooks(event: AnyEvent, hooks: Hooks, timeout: float | None = None) -> Any:  # noqa: ASYNC109
    """Run hooks and handler of an event, and return its result.

    After-hooks run only if nothing failed. All matching error handlers run, in order. They suppress the error, and the
    first value that is not None becomes the event's result.

    :param timeout: seconds that the handler may take; hooks are not included
    :raises BaseException: raised by the handler or a hook, if no error handler matches
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
        # The task is being cancelled, so error handlers must not be awaited.
        event.fail(exc, outcome_of(exc))
        raise
    except BaseException as exc:
        event.fail(exc, "timeout" if limit is not None and limit.expired() else outcome_of(exc))
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
    """Return the outcome of an event that raised this error, if it was not its timeout."""
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    # Exceptions of others may have attributes of any name.
    return "rejected" if isinstance(error, ListenerError) and error.is_rejection else "error"


def conclude(event: AnyEvent, hooks: Hooks, seconds: float) -> None:
    """Count an event whose handling ended, and mark it as done. Never raises.

    :param seconds: time since it was triggered
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
    """The task of a triggered event. It returns the event's result.

    If it fails and nothing has awaited it by then, the error is logged at once, with the event's route. asyncio itself
    logs such errors only when the garbage collector frees the task.
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
        """See `asyncio.Task`. A task with a callback counts as awaited."""
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
    """Log an unhandled error with the route of its event. Never raises."""
    route = event.route
    with contextlib.suppress(BaseException):  # an application's exception class may reject a new traceback
        error = without_our_frames(error)
    log_safely(logger, logging.ERROR, "Event %r failed in %s", route.path, route.where, exc_info=error)
