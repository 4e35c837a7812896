"""One HTTP connection: the thin rim between the transport, the reader of requests and their dispatch.

What arrives is kept by the server until all that this turn of the loop brings is there; then `read` takes it.
A handler that does not suspend is done within that call; any other goes on in a pooled task
(`tiny_listener.runner`), and the requests behind it wait in a queue, for they are answered in order.
Reading pauses while the queue is long, while a body that nobody takes piles up, and while the client takes no
bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..dispatch import conclude, log_failure, run_hooks
from ..runner import Pending
from .body import Body
from .errors import ClientDisconnectedError, HTTPError, ProtocolError
from .framing import END, RequestReader
from .lingering import linger
from .request import Request
from .response import NO_CONTENT, DeferredResponse, Response, as_response, head_bytes
from .routing import NOT_FOUND, Refusal
from .usual import MAX_UNWRITTEN

if TYPE_CHECKING:
    from ..event import Event
    from .server import HTTPServer

__all__ = ["HTTPConnection"]

logger = logging.getLogger("tiny_listener")

MAX_QUEUE = 32
"""Pipelined requests that may wait; then reading pauses."""
MAX_BUFFERED = 256 * 1024
"""Bytes of a body that may wait for the handler; then reading pauses. As much as uvloop reads at once."""
MAX_WAITING = 64 * 1024
"""Bytes that are read at once, and not at the end of the turn: what comes in such pieces may have to be stopped."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HTTPConnection(asyncio.Protocol):
    """One connection of an `HTTPServer`."""

    __slots__ = (
        "_answering",
        "_began",
        "_blocked_since",
        "_closing",
        "_current",
        "_ended",
        "_event",
        "_handling",
        "_head_since",
        "_incoming",
        "_out",
        "_queue",
        "_reading_paused",
        "_server",
        "_streaming",
        "_writable",
        "client",
        "is_free",
        "last_read",
        "reader",
        "scheme",
        "transport",
    )

    def __init__(self, server: HTTPServer) -> None:
        # per connection
        self._server = server
        self.reader = RequestReader(server.settings, server.grammar, Request)
        self.transport: Any = None
        self.client: tuple[str, int] | None = None
        self.scheme = "http"
        self.is_free = True
        """Whether nothing waits here, so that what arrives may go the usual way."""
        self._closing = False
        self._ended = False  # the client will send nothing more
        # reading
        self._incoming: Body | None = None  # that is being read
        self.last_read = 0.0
        self._head_since = 0.0
        self._reading_paused = False
        # answering
        self._queue: deque[tuple[Request, Event[Any] | Refusal]] = deque()
        self._current: Request | None = None
        self._event: Event[Any] | None = None  # that of the current request, while its handler is suspended
        self._began = 0.0  # when the handling of the current request began, on the clock of perf_counter
        self._handling: asyncio.Task[None] | None = None
        self._answering = False  # within _answer_next
        self._streaming: asyncio.Task[None] | None = None
        # writing
        self._out: list[bytes] = []
        self._writable: asyncio.Future[None] | None = None
        self._blocked_since = 0.0

    # --- the transport's calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self.transport = transport
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.client = (peer[0], peer[1])
        self.last_read = self._server.now
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        arrived = self._server.arrived
        if not arrived:
            self._server.will_work()
        arrived.append((self, data))
        if len(data) > MAX_WAITING:
            self._server.work()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: what was asked for is still answered before the connection closes."""
        self._server.work()
        self.is_free = False
        self._ended = True
        if self._incoming is not None:
            self._incoming.disconnect()
        elif self.reader.in_head and not self._closing:
            self._refuse(400, "the connection ended within the head of a request")
        self._closing = True
        return self.in_hand

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`: what was asked for is still done, though nobody will see the answer."""
        self._server.work()
        self.is_free = False
        self._closing = True
        self._server.connections.discard(self)
        if self._incoming is not None:
            self._incoming.disconnect()
        self._drop_queue()
        self.resume_writing()
        self._server.connection_closed()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self.is_free = False
        self._writable = self._server.loop.create_future()
        self._blocked_since = self._server.now
        self._regulate()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None
            self._answer_next()
            self._regulate()
            self._settle()

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

    # --- reading --------------------------------------------------------------------------------

    def read(self, data: bytes) -> None:
        """Take in what arrived and did not go the usual way."""
        self.is_free = False
        if self._closing:
            return
        self.last_read = now = self._server.now
        reader = self.reader
        for event in reader.receive(data):
            if type(event) is Request:  # PERF: a third of isinstance
                self._take(event)
            elif type(event) is bytes:
                if self._incoming is not None:
                    self._incoming.feed(event)
            elif event is END:
                if self._incoming is not None:
                    self._incoming.finish()
                    self._incoming = None
            elif isinstance(event, ProtocolError):
                self._take_violation(event)
        if reader.unread or self._head_since:
            self._head_since = (self._head_since or now) if reader.in_head else 0.0
        if self._queue:
            self._answer_next()
        self._regulate()
        self._settle()

    def _take(self, request: Request) -> None:
        """Take in a request: answer it, if none is before it and no body is to come, or let it wait."""
        if self._closing:
            return
        request.connection = self
        request.started = self._began = perf_counter()
        if request.content is None:
            request.arriving = self._incoming = Body(self, expects_continue=request.expects_continue)
        server = self._server
        if server.limit_concurrency is None or server.in_hand < server.limit_concurrency:
            target = server.find_event(request)
        else:
            target = Refusal(503, f"{server.in_hand} requests are in hand already", close=True)
        if isinstance(target, Refusal):
            self._closing = target.close
        elif request.length != 0:
            limit = target.route.opts.get("max_body", server.settings.max_body)
            if request.arriving is not None:
                request.arriving.max_size = limit
            if request.length is not None and request.length > limit:
                target = Refusal(413, f"the body is longer than {limit} bytes", close=True)
                self._closing = True
        server.in_hand += 1
        if self._current is not None or self._queue or self._writable or server.draining or self._incoming:
            self._queue.append((request, target))
        else:
            self._answer(request, target)

    def _take_violation(self, error: ProtocolError) -> None:
        if self._incoming is not None:
            # The request itself is broken in its body: its handler is told, and its answer is the last.
            self._incoming.fail(error)
            self._incoming = None
            self._closing = True
            if not self.in_hand:  # it was answered before, and has one answer only
                self._end()
        elif not self._closing:  # or else the last answer is on its way
            self._refuse(error.status, error.detail, "HEAD" if error.is_head else "")

    def _refuse(self, status: int, detail: str, method: str = "") -> None:
        """Queue a last response that no request stands behind, and read no further."""
        request = Request(method, "", 1, b"")
        request.connection = self
        request.started = perf_counter()
        self._server.in_hand += 1
        self._queue.append((request, Refusal(status, detail, close=True)))
        self._closing = True
        self._answer_next()

    def body_taken(self) -> None:
        """The handler took what had arrived of a body."""
        self._regulate()

    def body_wanted(self, body: Body) -> None:
        """The handler waits for more of a body."""
        if body.expects_continue and self._current is not None and body is self._current.arriving:
            body.expects_continue = False
            self._write(CONTINUE)
        self._regulate()

    def _regulate(self) -> None:
        """Pause or resume reading, by what waits."""
        full = (
            len(self._queue) > MAX_QUEUE
            or self._writable is not None
            or (self._incoming is not None and self._incoming.buffered > MAX_BUFFERED)
        )
        if full != self._reading_paused and self.transport is not None and not self.transport.is_closing():
            self._reading_paused = full
            if full:
                self.transport.pause_reading()
            else:
                self.last_read = self._server.now
                self.transport.resume_reading()

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

    def _close(self) -> None:
        self._server.write_answers()
        self.flush()
        self.is_free = False
        self.transport.close()

    def _end(self) -> None:
        """Close, for everything is answered; but let a client read that which may still be sending."""
        reader = self.reader
        if self._ended or reader.is_over or (reader.is_idle and self._server.draining):
            self._close()
        else:
            self.flush()
            linger(self, self._server, self.transport)

    # --- answering ------------------------------------------------------------------------------

    def _answer_next(self) -> None:
        """Answer what is queued, in order, until a request has to be waited for."""
        if self._answering:
            return
        self._answering = True
        while self._queue and self._current is None and self._writable is None:
            request, target = self._queue.popleft()
            self._began = perf_counter()
            self._answer(request, target)
        self._answering = False
        if self._current is None and not self._queue and (self._closing or self._server.draining):
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

    def _respond(self, request: Request, response: Response, observe: Callable[[str, int, float], None]) -> None:
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

    def _begin(self, request: Request, response: Response, observe: Callable[[str, int, float], None]) -> bool:
        """Count a response that is about to be written; return whether the connection ends with it."""
        close = not request.keep_alive or (not self._queue and (self._closing or self._server.draining))
        body = request.arriving
        if body is not None and body.expects_continue and not body.is_complete:
            close = True  # whether the body will come is not known
        if close:
            self._closing = True
            self._drop_queue()
        seconds = perf_counter() - request.started
        observe(request.method, response.status, seconds)
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

    async def _prepare(
        self, request: Request, response: DeferredResponse, observe: Callable[[str, int, float], None]
    ) -> None:
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
            async for piece in body:
                data = piece.encode() if isinstance(piece, str) else bytes(piece)
                if self.transport.is_closing():
                    return
                if data:
                    self._write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                    self.flush()
                if self._writable is not None:
                    await self._writable
            if chunked:
                self._write(b"0\r\n\r\n")
        except Exception:
            # RFC 9112 section 8: a body that ends early must not look complete.
            logger.exception("Streaming the response to %r failed", request)
            self.transport.abort()
        finally:
            if hasattr(body, "aclose"):
                await body.aclose()

    # --- time and end ---------------------------------------------------------------------------

    @property
    def in_hand(self) -> bool:
        """Whether a request is being answered, or waits to be."""
        return self._current is not None or bool(self._queue)

    @property
    def is_disconnected(self) -> bool:
        """Whether the client closed its side, or the connection is lost."""
        return self._ended or self.transport.is_closing()

    def check(self, now: float) -> None:
        """Enforce the limits of time; called about once a second."""
        settings = self._server.settings
        if self._writable is not None:
            if now - self._blocked_since > settings.write_timeout:
                self.transport.abort()
        elif self.reader.in_body and not self._reading_paused:
            if now - self.last_read > settings.body_timeout:
                self._time_out("the body stalled")
        elif self.in_hand:
            return
        elif self._head_since:
            if now - self._head_since > settings.header_timeout:
                self._refuse(408, f"the head was not complete after {settings.header_timeout:g} seconds")
        elif now - self.last_read > settings.keep_alive_timeout:
            self._close()

    def _time_out(self, detail: str) -> None:
        if self._incoming is not None and self.in_hand:
            self._take_violation(ProtocolError(408, detail))
        else:
            self.transport.abort()

    def drain(self, *, fresh: bool = False) -> None:
        """Close when nothing is in hand.

        :param fresh: also when no request has come yet at all; its client may be about to send one
        """
        if not self.in_hand and self.reader.is_idle and (self.reader.position or fresh):
            self._close()

    def abort(self) -> str:
        """Drop the connection with what is in hand; return what that was."""
        what = repr(self._current) if self._current is not None else "an unfinished request"
        for task in (self._streaming, self._handling):
            if task is not None:
                task.cancel()
        self.transport.abort()
        return what
