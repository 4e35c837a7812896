"""A request and its response on the slow path, from the handler to the last byte.

Every request ends in `Exchange.end`, after a result, any exception, a cancellation, a disconnect, a timeout or a
drain. The result is converted to bytes before the event is counted: one that cannot be sent counts as failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from ....core.dispatch import conclude, log_failure, outcome_of
from ....process.safe_logging import forget_frames, log_safely
from ....process.task_pool import Suspended
from ...body.file_body import FileBody
from ...errors import HTTPError, ProtocolError
from ...response import NO_CONTENT, DeferredResponse, Response
from ...routing import NOT_FOUND, Refusal
from ..states import ENDED, State
from ..writing.response_stream import send_body
from ..writing.wire import first_bytes
from .cleanup import run_event
from .results import INTERNAL_ERROR, prepare, response_to_error, response_to_value

if TYPE_CHECKING:
    from contextvars import Context

    from ....core.event import Event
    from ..connection import HTTPConnection
    from ..request import H1Request

__all__ = ["Exchange", "Observe"]

Observe: TypeAlias = "Callable[[str, int, float, str | None], None]"
"""Counts a response; see `RouteObserver.http_response`."""

logger = logging.getLogger("tiny_listener")


class Exchange:
    """The request in flight of a connection, and its response.

    :param request: the request; its head is parsed
    :param target: its event, or the refusal if it has none
    """

    __slots__ = (
        "_begun", "_context", "_handler", "_is_cancelled", "_is_concluded", "_is_sent", "_length", "_observe",
        "_seconds", "_task", "_task_has_begun", "began", "connection", "event", "hooks", "request", "sent", "target",
        "was_suspended",
    )  # fmt: skip

    def __init__(self, connection: HTTPConnection, request: H1Request, target: Event[Any] | Refusal) -> None:
        self.connection = connection
        self.request = request
        self.target = target
        self.event: Event[Any] | None = target if target.route is not None else None
        self.began = perf_counter()
        """Start of the handling, on the clock of perf_counter."""
        self._seconds = 0.0  # duration of hooks and handler
        self._observe: Observe = (
            connection.server.observer.http_unrouted if self.event is None else self.event.route.observer.http_response
        )
        self.was_suspended = False
        """Whether the handler or the response did not finish within one call."""
        self._handler: Suspended | None = None  # the handler while it is suspended
        self.hooks: Suspended | None = None  # response hooks while they are suspended
        self._context: Context | None = None  # the handler's context variables
        self._task: asyncio.Task[None] | None = None  # prepares or sends the response
        self._task_has_begun = False
        self._is_cancelled = False  # by the server: this is not a failure of the handler
        self._is_concluded = self.event is None
        self._is_sent: asyncio.Future[None] | None = None  # the handler's coroutine waits for it, to clean up
        self._length: int | None = None  # content length of a streamed response, if known
        self._begun: tuple[int, bytes] | None = None  # status and first bytes of the response, for the access log
        self.sent = 0
        """Bytes of the body that were handed to the connection after those."""

    def __repr__(self) -> str:
        return repr(self.request)

    # --- the handler ------------------------------------------------------------------------------

    def handle(self) -> None:
        """Answer the request. `resumed` follows if the handler suspends, `_task_ended` if the response does."""
        event = self.event
        server = self.connection.server
        if event is None:
            if self.target is NOT_FOUND:
                server.observer.not_found()
            self._respond(self.target.response())  # type: ignore[union-attr]
            return
        try:
            value = server.pool.run(run_event(event, server.hooks), self.resumed)
        except BaseException as exc:
            self._context = server.pool.context
            self.conclude(None, exc)
        else:
            if type(value) is Suspended:
                self.wait_for(value)
            else:
                self._context = server.pool.context
                self.conclude(value, None)

    def wait_for(self, handler: Suspended) -> None:
        """The handler has suspended. `resumed` follows."""
        self.was_suspended = True
        self._handler = handler
        if self.target.route is not None and self.target.route.opts.get("cancel_on_disconnect"):
            self.connection.departure.will_cancel(self)

    def take_context(self) -> None:
        """The handler has just ended on the fast path: store its context variables."""
        self._context = self.connection.server.pool.context

    def resumed(self, value: Any, error: BaseException | None) -> None:
        """The suspended handler has ended."""
        self._handler = None
        if self._is_sent is not None:  # so has the cleanup after it
            self.end()
            return
        self._context = self.connection.server.pool.context
        try:
            self.conclude(value, error)
        except BaseException as exc:
            self.connection.fail(exc)

    def will_clean_up(self) -> asyncio.Future[None]:
        """The handler's coroutine calls `conclude` and then goes on. Return a future for the end of the response."""
        self._context = copy_context()
        self._is_sent = self.connection.server.loop.create_future()
        return self._is_sent

    def conclude(self, value: Any, error: BaseException | None) -> None:
        """Hooks and handler have ended: create the response, count the event, and write.

        :param value: the returned value
        :param error: the raised exception
        """
        event = self.event
        assert event is not None
        self._seconds = perf_counter() - self.began
        if self._is_cancelled and isinstance(error, asyncio.CancelledError):
            self._stream_failed(error)
            self.end()
            return
        if error is None:
            event.result = value
            response = self._response_to_value(event, value)
        else:
            if event.error is not error:
                event.fail(error, outcome_of(error))
            response = self._response_to_error(event, error)
        self._respond(response)

    def _response_to_value(self, event: Event[Any], value: Any) -> Response:
        try:
            return response_to_value(event, value)
        except BaseException as exc:
            return self._failed(exc)

    def _response_to_error(self, event: Event[Any], error: BaseException) -> Response:
        if isinstance(error, ProtocolError):
            self.connection.take_no_more()  # this is the last response
        try:
            response = response_to_error(event, error, self._context)
        except BaseException as exc:
            return self._failed(exc)
        if response is not None:
            return response
        self._report(error)
        return INTERNAL_ERROR.response()

    def _refused(self, error: HTTPError) -> Response:
        """Preparing the response raised an HTTPError: return its response."""
        try:
            if error.status >= 500:
                self._failed(error)
            elif (event := self.event) is not None and not self._is_concluded:
                event.result = None
                event.fail(error, outcome_of(error))
            return error.response()
        except BaseException as exc:
            return self._failed(exc)

    def _failed(self, error: BaseException) -> Response:
        """The result of the handler cannot be sent: mark the event as failed, and return a 500."""
        event = self.event
        if event is not None and not self._is_concluded:
            event.result = None
            event.fail(error, outcome_of(error))
        self._report(error)
        return INTERNAL_ERROR.response()

    def _report(self, error: BaseException) -> None:
        """Log a failure of the application once, with its route."""
        if self._is_cancelled and isinstance(error, asyncio.CancelledError):
            return
        if self.event is not None:
            log_failure(self.event, error)
        else:
            log_safely(logger, logging.ERROR, "The response to %r failed", self.request, exc_info=error)
        self.connection.server.on_failure(self.connection, error)

    def _log(self, write: Callable[..., None], *args: Any) -> None:
        write(*args)

    def conclude_event(self) -> None:
        """Count the event. Its outcome is final, and the client has not seen it yet."""
        if not self._is_concluded:
            self._is_concluded = True
            assert self.event is not None
            conclude(self.event, self.connection.server.hooks, self._seconds)
            if isinstance(self.event.error, HTTPError):
                forget_frames(self.event.error)

    # --- the response -----------------------------------------------------------------------------

    def _respond(self, response: Response) -> None:
        """Write a response, or start to stream it."""
        if isinstance(response, DeferredResponse):
            self._go_on_in(State.RESPONDING)
            self._start(self._prepare(response))
        elif not self._write(response):
            self._go_on_in(State.STREAMING)
            self._start(self._stream(response))

    def _go_on_in(self, state: State) -> None:
        if self.connection.state in ENDED:  # the response is no longer needed
            self._is_cancelled = True
        else:
            self.connection.step(state)
            if state is State.STREAMING and self.connection.is_disconnected:
                self.connection.departure.watch_stream()

    def _write(self, response: Response) -> bool:
        """Write a whole response, or the head of a streamed one. Return whether it was whole."""
        close, method, version = (
            self.connection.pipeline.is_last_response(self.request),
            self.request.method,
            self.request.version,
        )
        if self.request.arriving is not None:
            self.request.arriving.expects_continue = False  # no 100 (Continue) after the final response
        try:
            written = first_bytes(response, method, version, close=close)
        except BaseException as exc:
            self.connection.server.run_aside(self._close(response.body))
            response = self._failed(exc)
            written = first_bytes(response, method, version, close=close)
        data, is_whole, close, self._length = written
        if close:
            self.connection.take_no_more()
        if is_whole:
            self.conclude_event()
        request = self.request
        seconds = perf_counter() - request.started
        self._observe(method, response.status, seconds, request.recorded_trace_id)
        self._begun = response.status, data
        self.connection.write(data)
        if is_whole:
            self.end()
        return is_whole

    # --- a response that needs a task ----------------------------------------------------------------

    def _start(self, coro: Coroutine[Any, Any, None]) -> None:
        """Prepare or send the response in a task, with the handler's context variables."""
        server = self.connection.server
        self.was_suspended = True
        # Not by the loop's task factory: an application's factory may not accept a context.
        self._task = asyncio.Task(coro, loop=server.loop, context=self._context or server.pool.new_context())
        self._task.add_done_callback(self._task_ended)

    async def _prepare(self, response: DeferredResponse) -> None:
        self._task_has_begun = True
        try:
            if self._is_cancelled:
                raise asyncio.CancelledError
            ready = await prepare(response, self.request)
        except HTTPError as exc:
            ready = self._refused(exc)
        except BaseException as exc:
            ready = self._failed(exc)
        if not self._write(ready):
            self._go_on_in(State.STREAMING)
            await self._stream(ready)

    async def _stream(self, response: Response) -> None:
        self._task_has_begun = True
        request = self.request
        body: Any = response.body
        try:
            if self._is_cancelled:
                raise asyncio.CancelledError
            if request.method != "HEAD" and response.status not in NO_CONTENT:
                await send_body(self, body, self._length)
            self.conclude_event()
        except BaseException as exc:
            self._stream_failed(exc)
        finally:
            if type(body) is FileBody:
                await body.aclose()
            elif getattr(body, "ag_frame", body) is not None:  # an exhausted generator needs no close
                self.connection.server.run_aside(self._close(body))

    def _stream_failed(self, error: BaseException) -> None:
        """A response ended early: end the connection, so that it does not look complete (RFC 9112 section 8)."""
        event = self.event
        is_gone = not self.is_wanted
        if event is not None and not self._is_concluded:
            event.fail(error, "cancelled" if is_gone else "error")
        if not is_gone:
            self._report(error)
        self.conclude_event()
        self.connection.abort_transport()

    async def _close(self, body: Any) -> None:
        try:
            if hasattr(body, "aclose"):
                await body.aclose()
        except BaseException as exc:
            if not self._is_cancelled:
                self._report(exc)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """The response's task has ended, or was cancelled before it began."""
        if self.connection.pipeline.exchange is not self:  # too late: a later request is in flight
            return
        try:
            if task.cancelled() or task.exception() is not None:
                self._stream_failed(asyncio.CancelledError() if task.cancelled() else task.exception())  # type: ignore[arg-type]
        except BaseException as exc:
            self.connection.fail(exc)
        finally:
            self.end()

    # --- the end ----------------------------------------------------------------------------------

    @property
    def is_wanted(self) -> bool:
        """Whether the client may still read the response."""
        return not (self._is_cancelled or self.connection.is_lost)

    @property
    def is_streaming(self) -> bool:
        """Whether a task is preparing or sending the response."""
        return self._task is not None

    @property
    def is_suspended(self) -> bool:
        """Whether the handler or the response is pending."""
        return self._handler is not None or self._task is not None

    def cancel_response(self) -> None:
        """Stop sending the response, because the client is gone."""
        if self._task is not None:
            self._is_cancelled = True
            if self._task_has_begun:  # if cancelled earlier, the coroutine would not run its `finally`
                self._task.cancel()

    def cancel(self) -> None:
        """Cancel the handler or the response; end at once if neither is pending."""
        self._is_cancelled = True
        if self._handler is not None:
            self._handler.cancel()
        self.cancel_response()
        if not self.is_suspended:
            self.end()

    def end(self) -> None:
        """End the request, unless its handler still has to clean up. A second call has no effect."""
        if self.connection.pipeline.exchange is self:
            self._task = None
            if not self._is_concluded:  # it was dropped
                assert self.event is not None
                if self.event.error is None:
                    self.event.outcome = "cancelled"
                self.conclude_event()
            if self._begun is not None and (log := self.connection.server.access_log) is not None:
                (status, data), self._begun = self._begun, None
                seconds = perf_counter() - self.request.started
                self._log(log.write, self.request, status, seconds, data, self.sent)
            if self._handler is not None and self._is_sent is not None:  # `resumed` follows
                if not self._is_sent.done():
                    self._is_sent.set_result(None)
                return
            self._handler = None
            self.connection.exchange_ended(self)
