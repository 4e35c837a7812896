"""The dispatch of one event: before-hooks, handler, after-hooks, error handlers; and the task it runs in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..errors import HandlerExit, ListenerError
from ..process.safe_logging import log_safely
from ..process.tracebacks import without_our_frames
from .injection import clean_up
from .injection.signatures import where

if TYPE_CHECKING:
    from contextvars import Context as ContextVars

    from .aliases import AnyEvent
    from .hooks import Hooks
    from .observer import Outcome

__all__ = ["EventTask", "conclude", "dispatch", "log_failure", "outcome_of", "run_hooks", "run_to_the_end"]

logger = logging.getLogger("tiny_listener")


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
        if event.route.has_exits:
            await clean_up(event)


async def run_to_the_end(event: AnyEvent, hooks: Hooks, timeout: float | None = None) -> Any:  # noqa: ASYNC109
    """The same as `run_hooks`, with the cleanup of dependencies."""
    try:
        return await run_hooks(event, hooks, timeout)
    finally:
        await clean_up(event)


async def run_hooks(event: AnyEvent, hooks: Hooks, timeout: float | None = None) -> Any:  # noqa: ASYNC109
    """Run hooks and handler of an event, and return its result.

    A before-hook may answer, with a value such as an HTTP `Response`: then the handler does not run. After-hooks run
    only if nothing failed. All matching error handlers run, in order. They suppress the error, and the first value that
    is not None becomes the event's result. An error handler may raise an answer, such as an `HTTPError`; any other
    error that it raises is logged, and does not replace the first.

    :param timeout: seconds that the handler may take, instead of those of the route; hooks are not included
    :raises BaseException: raised by the handler or a hook, if no error handler matches, or if those fail themselves
    """
    limit = None
    route = event.route
    for watcher in hooks.watchers:
        watcher.began(event)
    try:
        for hook in route.before:
            if hook.of_requests and not event.is_request:
                continue
            value = await hook.call(event)
            if value is not None and getattr(value, "is_answer", False):
                event.result = value
                break
        else:
            timeout = timeout if timeout is not None else route.timeout
            if timeout is None:
                event.result = await route.call(event)
            else:
                async with asyncio.timeout(timeout) as limit:
                    result = await route.call(event)
                if limit.expired():  # the handler has caught its cancellation, and returned
                    raise TimeoutError
                event.result = result
        for hook in route.after:
            if not hook.of_requests or event.is_request:
                await hook.call(event)
    except (asyncio.CancelledError, GeneratorExit) as exc:
        # The task is being cancelled, so error handlers must not be awaited.
        event.fail(exc, outcome_of(exc))
        raise
    except BaseException as exc:
        event.fail(exc, "timeout" if limit is not None and limit.expired() else outcome_of(exc))
        if event.defers(exc) or not await _handle_error(event, exc):
            raise
    return event.result


async def _handle_error(event: AnyEvent, error: BaseException) -> bool:
    """Run the error handlers that match. Return whether one of them has handled the error."""
    event.result = None
    is_handled = False
    for kind, hook in event.route.on_error:
        if not isinstance(error, kind) or (hook.of_requests and not event.is_request):
            continue
        try:
            value = await hook.call(event)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as exc:
            if getattr(exc, "is_answer", False):  # such as an HTTPError, which the handler chose
                event.fail(exc, outcome_of(exc))
                raise
            # The original error stays the event's: this one must not hide it.
            message = "The error handler %s failed on %r"
            log_safely(logger, logging.ERROR, message, where(hook.fn), event.route.path, exc_info=exc)
            continue
        is_handled = True
        if event.result is None:
            event.result = value
    return is_handled


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
