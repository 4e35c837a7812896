"""The answering half of a connection: requests in their order, and the bytes of their responses.

A handler that does not suspend is done within the call that takes its request; any other goes on in a pooled task
(`tiny_listener.runner`), and the requests behind it wait in a queue, for they are answered in order. Most requests
are answered without any of it, see `usual`.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from ..dispatch import conclude, log_failure, run_hooks
from ..runner import Pending
from .errors import ClientDisconnectedError, HTTPError, ProtocolError
from .file_body import FileBody
from .framing import RequestReader
from .request import Request
from .response import NO_CONTENT, DeferredResponse, Response, as_response, head_bytes
from .routing import NOT_FOUND, Refusal
from .sendfile import send_file
from .usual import MAX_UNWRITTEN

if TYPE_CHECKING:
    from ..event import Event
    from .body import Body
    from .server import HTTPServer

__all__ = ["Answering", "Observe"]

Observe: TypeAlias = "Callable[[str, int, float, str | None], None]"
"""Counts a response; see `RouteObserver.http_response`."""

logger = logging.getLogger("tiny_listener")


class Answering(asyncio.Protocol):
    """What a connection does with the requests that it has read."""

    __slots__ = (
        "_answering",
        "_began",
        "_closing",
        "_current",
        "_ended",
        "_event",
        "_handling",
        "_incoming",
        "_out",
        "_queue",
        "_server",
        "_streaming",
        "_writable",
        "is_free",
        "last_active",
        "reader",
        "transport",
    )

    def __init__(self, server: HTTPServer) -> None:
        self._server = server
        self.reader = RequestReader(server.settings, server.grammar, Request)
        self.transport: Any = None
        self.is_free = True
        """Whether nothing waits here, so that what arrives may go the usual way."""
        self.last_active = 0.0
        """When something was last read or answered, on the loop's clock; up to a sweep of the server too early."""
        self._closing = False  # no request is taken in any more
        self._ended = False  # the client will send nothing more
        self._incoming: Body | None = None  # that is being read
        # answering
        self._queue: list[tuple[Request, Event[Any] | Refusal]] = []  # a deque takes 600 bytes
        self._current: Request | None = None
        self._event: Event[Any] | None = None  # that of the current request, while its handler is suspended
        self._began = 0.0  # when the handling of the current request began, on the clock of perf_counter
        self._handling: asyncio.Task[None] | None = None
        self._answering = False  # within _answer_next
        self._streaming: asyncio.Task[None] | None = None
        # writing
        self._out: list[bytes] = []
        self._writable: asyncio.Future[None] | None = None  # while the client takes no bytes

    @property
    def in_hand(self) -> bool:
        """Whether a request is being answered, or waits to be."""
        return self._current is not None or bool(self._queue)

    def _settle(self) -> None:
        """See whether anything waits."""
        self.is_free = self.reader.is_idle and not (
            self._closing
            or self._current is not None
            or self._queue
            or self._incoming is not None
            or self._writable is not None
            or self._out
        )

    @property
    @abstractmethod
    def scheme(self) -> str:
        """`http` or `https`."""

    @abstractmethod
    def _end(self) -> None:
        """Close, for everything is answered."""

    @abstractmethod
    def _regulate(self) -> None:
        """Pause or resume reading, by what waits."""

    # --- writing --------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        """Write soon: with all that is ready at the end of this turn of the loop."""
        # PERF: each write wakes the client; back to back they cost a third of what they cost one by one.
        out = self._out
        if not out:
            server = self._server
            server.unwritten.append(self)
            if not server.working:
                server.will_flush()
        out.append(data)
        if len(out) >= MAX_UNWRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write what is ready."""
        if self._out:
            self._server.write_answers()
            data = b"".join(self._out)
            self._out.clear()
            self.transport.write(data)
            self._settle()

    async def writable(self) -> None:
        """Wait until the client takes bytes again, or is gone."""
        if self._writable is not None:
            await self._writable

    def answered_last(self) -> None:
        """The last request that will come was answered the usual way: close, when that is written."""
        self.is_free = False
        self._closing = True
        self._server.ending.append(self.transport)

    def _close(self) -> None:
        self._server.write_answers()
        self.flush()
        self.is_free = False
        self.transport.close()

    # --- answering ------------------------------------------------------------------------------

    def _answer_next(self) -> None:
        """Answer what is queued, in order, until a request has to be waited for."""
        if self._answering:
            return
        self._answering = True
        while self._queue and self._current is None and self._writable is None:
            request, target = self._queue.pop(0)
            self._began = perf_counter()
            self._answer(request, target)
        self._answering = False
        if self._closing and self._current is None and not self._queue:
            self._end()

    def _answer(self, request: Request, target: Event[Any] | Refusal) -> None:
        """Answer a request that is in hand; if it takes longer than this call, `_responded` follows."""
        self._current = request
        if isinstance(target, Refusal):
            if target is NOT_FOUND:
                self._server.observer.not_found()
            self._respond(request, target.response(), self._server.observer.http_unrouted)
            return
        try:
            value = self._server.run(run_hooks(target, self._server.hooks), self.resumed)
        except (Exception, asyncio.CancelledError) as exc:
            self._conclude(request, target, None, exc)
        else:
            if type(value) is Pending:
                self._event, self._handling = target, value.task
            else:
                self._conclude(request, target, value, None)

    def wait_for(self, request: Request, event: Event[Any], task: asyncio.Task[None]) -> None:
        """The handler of a request that came the usual way has suspended; its task goes on with it."""
        self._take_in_hand(request)
        self._event, self._handling = event, task

    def conclude(self, request: Request, event: Event[Any], value: Any, error: BaseException | None) -> None:
        """A request that came the usual way has an unusual response."""
        self._take_in_hand(request)
        self._conclude(request, event, value, error)

    def _take_in_hand(self, request: Request) -> None:
        self.is_free = False
        self._server.in_hand += 1
        self._current, self._began = request, request.started

    def resumed(self, value: Any, error: BaseException | None) -> None:
        """The handler of the current request, which had suspended, has ended."""
        request, event = self._current, self._event
        if request is None or event is None:  # the connection was dropped
            return
        self._event = self._handling = None
        # This is within the handler's task: the next request must not begin in its name.
        self._server.loop.call_soon(self._go_on)
        self._conclude(request, event, value, error)

    def _go_on(self) -> None:
        self._answer_next()
        self._regulate()

    def _conclude(self, request: Request, event: Event[Any], value: Any, error: BaseException | None) -> None:
        """The event of the current request has ended: respond."""
        if error is None:
            event.result = value
        elif event.error is not error:
            event.fail(error, "error" if isinstance(error, Exception) else "cancelled")
        conclude(event, self._server.hooks, perf_counter() - self._began)
        if error is not None:
            response = self._response_to(event, error)
        elif value is None and event.error is not None:
            raised = event.error
            refusal = raised if isinstance(raised, HTTPError) else Refusal(500, HTTPStatus(500).phrase)
            response = refusal.response()
        else:
            try:
                response = as_response(value)
            except TypeError as exc:
                response = self._response_to(event, exc)
        self._respond(request, response, event.route.observer.http_response)

    def _response_to(self, event: Event[Any], error: BaseException) -> Response:
        if isinstance(error, ProtocolError):
            self._drop_queue()  # this is the last response
            self._closing = True
            return Refusal(error.status, error.detail).response()
        if isinstance(error, ClientDisconnectedError):
            return Refusal(400, str(error)).response()  # its client may have closed its own side only
        if isinstance(error, HTTPError):
            if error.status >= 500:
                log_failure(event, error)
            return error.response()
        if isinstance(error, Exception):
            log_failure(event, error)
        return Refusal(500, HTTPStatus(500).phrase).response()

    def _respond(self, request: Request, response: Response, observe: Observe) -> None:
        """Write a response, or begin to; when it is out, the next request may be answered."""
        if isinstance(response, DeferredResponse):
            self._stream_by(self._prepare(request, response, observe))
            return
        close = self._begin(request, response, observe)
        if isinstance(response.body, bytes):
            self._write_whole(request, response, response.body, close=close)
            self._responded(request)
        else:
            self._stream_by(self._stream(request, response, close=close))

    def _begin(self, request: Request, response: Response, observe: Observe) -> bool:
        """Count a response that is about to be written; return whether the connection ends with it."""
        close = not request.keep_alive or (not self._queue and (self._closing or self._server.draining))
        body = request.arriving
        if body is not None and body.expects_continue and not body.is_complete:
            close = True  # whether the body will come is not known
        if close:
            self._closing = True
            self._drop_queue()
        seconds = perf_counter() - request.started
        observe(request.method, response.status, seconds, request.recorded_trace_id)
        if self._server.access_log:
            self._server.log_access(request, response, seconds)
        return close

    def _write_whole(self, request: Request, response: Response, content: bytes, *, close: bool) -> None:
        head = head_bytes(response, close=close, length=len(content), version=request.version)
        bodiless = request.method == "HEAD" or response.status in NO_CONTENT
        self._write(head if bodiless else head + content)

    def _stream_by(self, coro: Coroutine[Any, Any, None]) -> None:
        self._streaming = self._server.loop.create_task(coro)
        self._streaming.add_done_callback(self._streamed)

    def _drop_queue(self) -> None:
        self._server.in_hand -= len(self._queue)
        self._queue.clear()

    def _responded(self, request: Request) -> None:
        self._current = None
        self.last_active = self._server.now
        self._server.in_hand -= 1
        if request.arriving is not None:
            # When the answer is out before the body was in, the rest is read over.
            request.arriving.fail(ProtocolError(400, "the body was not wanted"))
        if self._closing and not self._queue and not self._answering:
            self._end()

    def _streamed(self, task: asyncio.Task[None]) -> None:
        self._streaming = None
        if self._current is not None:
            self._responded(self._current)
        if not task.cancelled():
            self._go_on()

    async def _prepare(self, request: Request, response: DeferredResponse, observe: Observe) -> None:
        try:
            ready = await response.prepare(request)
        except HTTPError as exc:
            ready = exc.response()
        except Exception:
            logger.exception("Preparing the response to %r failed", request)
            ready = Refusal(500, HTTPStatus(500).phrase).response()
        close = self._begin(request, ready, observe)
        if isinstance(ready.body, bytes):
            self._write_whole(request, ready, ready.body, close=close)
        else:
            await self._stream(request, ready, close=close)

    async def _stream(self, request: Request, response: Response, *, close: bool) -> None:
        body: Any = response.body
        length: int | None = getattr(body, "length", None)
        chunked = request.version == 1 and length is None
        if not chunked and length is None and not close:
            close = self._closing = True
        self._write(head_bytes(response, close=close, length=length, version=request.version))
        try:
            if request.method == "HEAD" or response.status in NO_CONTENT:
                return
            if type(body) is FileBody:
                self.flush()
                await send_file(self, body)
            async for piece in body:
                data = piece.encode() if isinstance(piece, str) else bytes(piece)
                if self.transport.is_closing():
                    return
                if data:
                    self._write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                    self.flush()
                await self.writable()
            if chunked:
                self._write(b"0\r\n\r\n")
        except Exception:
            # RFC 9112 section 8: a body that ends early must not look complete.
            logger.exception("Streaming the response to %r failed", request)
            self.transport.abort()
        finally:
            if hasattr(body, "aclose"):
                await body.aclose()
