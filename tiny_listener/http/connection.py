"""One HTTP/1 connection: its reader, the exchange that is in flight, its transport, and the table of its life.

What arrives is kept by the server until all that this loop iteration brings is there; the fast path takes it, or `read`.
Requests are answered in order, one `Exchange` at a time; those behind it wait in a queue. Reading pauses while the queue
is long, while a body that nobody takes piles up, and while the client takes no bytes.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .body import Body
from .errors import BodyTooLargeError, ProtocolError
from .exchange import INTERNAL_ERROR, Exchange
from .forwarded import Origin
from .framing import END, RequestReader
from .request import Request
from .routing import Refusal
from .states import ENDED, STEPS, IllegalConnectionStep, State

if TYPE_CHECKING:
    from ..event import Event
    from ..task_pool import Suspended
    from .server import HTTPServer

__all__ = ["HTTPConnection"]

logger = logging.getLogger("tiny_listener")

MAX_QUEUE = 32
"""Pipelined requests that may wait; then reading pauses."""
MAX_BUFFERED = 256 * 1024
"""Bytes of a body that may wait for the handler; then reading pauses. As much as uvloop reads at once."""
MAX_WAITING = 64 * 1024
"""Bytes that are read at once, and not at the end of the iteration: what comes in such pieces may have to be stopped."""
MAX_DISCARDED = 64 * 1024 * 1024
"""Bytes that are discarded: four times the longest body that is taken by default. nginx and Apache limit time alone;
but time is no limit to a client on the same machine."""
GONE_GRACE = 0.5
"""Seconds that a stream may wait for its next piece once the client has closed its side. Such a client may still read;
but most are gone, and TCP cannot tell before the next byte is sent."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
IDLE = State.IDLE


class HTTPConnection(asyncio.Protocol):
    """One connection of an `HTTPServer`."""

    __slots__ = (
        "__weakref__",
        "_blocked",
        "_discarded",
        "_ended",
        "_goodbyes",
        "_holds",
        "_incoming",
        "_piece_at",
        "_queue",
        "_reading_paused",
        "_since",
        "_taken_at",
        "_takes_more",
        "_unsent",
        "client",
        "exchange",
        "last_active",
        "reader",
        "server",
        "state",
        "transport",
    )

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.reader = RequestReader(server.settings, server.grammar, Request)
        self.transport: Any = None
        self.client: tuple[str, int] | None = None
        """Address and port of the peer; None on a unix socket."""
        self.state = IDLE
        """Where it is in its life; in IDLE nothing waits here, so that what arrives may take the fast path."""
        self.exchange: Exchange | None = None
        """The request in flight."""
        self.last_active = 0.0
        """When something was last read or answered, on the loop's clock; up to a sweep of the server too early."""
        # reading
        self._takes_more = True  # whether requests are taken in; otherwise what comes is discarded
        self._ended = False  # whether the client will send nothing more
        self._incoming: Body | None = None  # the body that is being read
        self._queue: list[tuple[Request, Event[Any] | Refusal]] = []  # a deque takes 600 bytes
        self._since = 0.0  # when the head began that is being read; or when lingering began
        self._reading_paused = False
        self._discarded = 0  # bytes
        # answering
        self._holds = False  # within `read` or `_answer_queued`, which settle in the end
        self._goodbyes: list[asyncio.Future[None]] | None = None  # of those that wait for the client to go
        self._piece_at = 0.0  # when a stream last had a piece, on the loop's clock
        # writing
        self._blocked: asyncio.Future[None] | None = None  # while the client takes no bytes
        self._unsent = 0  # bytes that the client had not taken at the last sweep
        self._taken_at = 0.0  # when it last took some, or needed to take none

    def step(self, new: State) -> None:
        """Go on to a state.

        :raises IllegalConnectionStep: it cannot follow on the present one
        """
        if new not in STEPS[self.state]:
            raise IllegalConnectionStep(self.state, new)
        self.state = new

    def fail(self, error: BaseException) -> None:
        """Something that concerns this connection alone has failed, by a fault of the server's: log it, and end it."""
        what = self.exchange.event.route.path if self.exchange is not None and self.exchange.event is not None else ""
        logger.error(
            "The connection of %s failed%s; it is closed", self.client, what and f" at {what!r}", exc_info=error
        )
        self.abort()

    # --- the transport's calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self.transport = transport
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.client = (peer[0], peer[1])
        self.last_active = self._taken_at = self.server.now
        self.server.connections.add(self)
        if self.server.handshaking:
            self.server.handshaking.discard(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        arrived = self.server.arrived
        if not arrived:
            self.server.will_work()
        arrived.append((self, data))
        if len(data) > MAX_WAITING:
            self.server.work()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: what was asked for is still answered before the connection closes."""
        try:
            self.server.work()  # what arrived before
            self._ended = True
            self._see_the_end()
        except BaseException as exc:
            self.fail(exc)
        return self.state not in ENDED and self.scheme == "http"  # TLS has no half-closed connections

    def _see_the_end(self) -> None:
        """The client will send nothing more."""
        if self.state in ENDED:
            return
        self._say_goodbye()
        if self.exchange is not None and self.exchange.is_streaming:
            self._piece_at = self.server.loop.time()
            self._watch_stream()
        self._read_to_the_end()
        self._settle()

    def _read_to_the_end(self) -> None:
        """All that the client sent has been read, unless there was no time for some of it."""
        if self.reader.has_more:
            return
        if self._incoming is not None:
            self._incoming.disconnect()
            self._incoming = None
        if self._takes_more and self.reader.in_head:
            self._refuse(400, "the connection ended within the head of a request")
            self._answer_queued()
        self._takes_more = False

    def _watch_stream(self) -> None:
        """Cancel a stream that waits for its next piece for long, now that its client may be gone."""
        exchange = self.exchange
        if exchange is None or not exchange.is_streaming or self.state in ENDED:
            return
        left = self._piece_at + GONE_GRACE - self.server.loop.time()
        if left > 0 or self._blocked is not None:
            self.server.loop.call_later(max(left, GONE_GRACE / 4), self._watch_stream)
        else:
            exchange.cancel_response()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`: what was asked for is still done, though nobody will see the answer."""
        self.server.connections.discard(self)
        try:
            if self.state not in ENDED:
                self.server.work()
        finally:
            if self.state is not State.DEAD:
                self.step(State.DEAD)
            self._end_waiting()
            self.server.connection_closed()

    def _end_waiting(self) -> None:
        """The connection is lost: nobody may wait for it any more."""
        self._takes_more = False
        self._ended = True
        self._queue.clear()
        if self._incoming is not None:
            self._incoming.disconnect()
            self._incoming = None
        if self._blocked is not None:
            if not self._blocked.done():
                self._blocked.set_result(None)
            self._blocked = None
        self._say_goodbye()
        if self.exchange is not None:
            self.exchange.cancel_response()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        if self._blocked is None:
            self._blocked = self.server.loop.create_future()
            self._taken_at = self.server.now
        if self.state is IDLE:
            self.step(State.RESPONDING)
        self._regulate()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        blocked, self._blocked = self._blocked, None
        if blocked is None:
            return
        self._taken_at = self.server.now
        if not blocked.done():
            blocked.set_result(None)
        try:
            self._answer_queued()
            self._settle()
        except BaseException as exc:
            self.fail(exc)

    # --- reading --------------------------------------------------------------------------------

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return self.server.scheme

    def origin_of(self, request: Request) -> Origin:
        """Return where a request came from, as the peer, or proxies that are trusted, say."""
        proxies = self.server.proxies
        if proxies is None:
            return Origin(self.client, self.scheme)
        return proxies.origin(self.client, self.scheme, request.fields)

    def read_later(self, data: bytes) -> None:
        """Keep bytes that begin with a head: there was no time for them in this iteration."""
        self.reader.keep(data)
        self._since = self.server.now
        self._settle()

    def take_kept(self) -> bytes:
        """Return the bytes that there was no time for, if the fast path may have them; else `read` goes on with them."""
        if self.exchange is None and not self._queue and self._blocked is None and self.state not in ENDED:
            kept = self.reader.take_kept()
            if kept is not None:
                self._settle()
                return kept
        return b""

    def read(self, data: bytes) -> None:
        """Take in what arrived and did not take the fast path."""
        if not self._wants_more:
            self._discard(data)
            return
        self.last_active = now = self.server.now
        reader = self.reader
        was_in_head = reader.in_head
        self._holds = True
        try:
            events = reader.receive(data)
            for event in events:
                if type(event) is Request:  # PERF: a third of isinstance
                    self._take(event)
                elif type(event) is bytes:
                    self._feed(event)
                elif event is END:
                    if self._incoming is not None:
                        self._incoming.finish()
                        self._incoming = None
                elif isinstance(event, ProtocolError):
                    self._take_violation(event)
                if not self._wants_more:
                    break
        finally:
            self._holds = False
        if events or not was_in_head:
            self._since = now  # a head that is being read began with these bytes
        if self._ended:
            self._read_to_the_end()
        self._answer_queued()
        self._settle()

    @property
    def _wants_more(self) -> bool:
        """Whether anything that may still come is of use: further requests, or the rest of a body."""
        return self._takes_more or self._incoming is not None

    def _discard(self, data: bytes) -> None:
        """Discard what nobody wants, up to a limit."""
        self.last_active = self.server.now
        self._discarded += len(data)
        if self._discarded > MAX_DISCARDED:
            self.transport.abort()

    def _feed(self, piece: bytes) -> None:
        body = self._incoming
        if body is not None:
            body.feed(piece)
            if body.is_too_large:
                self._take_violation(BodyTooLargeError(body.max_size))

    def _take(self, request: Request) -> None:
        """Take in a request: answer it, if none is before it and no body is to come, or let it wait."""
        if not self._takes_more:
            return
        request.connection = self
        request.started = perf_counter()
        server = self.server
        try:
            target = server.find_event(request)
        except BaseException as exc:  # a convertor of the application's
            logger.error("Routing %r failed", request, exc_info=exc)
            target = INTERNAL_ERROR
        limit = server.settings.max_body
        if target.route is not None:
            limit = target.route.opts.get("max_body", limit)
        if request.content is None:
            request.arriving = self._incoming = Body(self, expects_continue=request.expects_continue)
            request.arriving.max_size = limit
        if target.route is not None and request.length is not None and request.length > limit:
            target = Refusal(413, f"the body is longer than {limit} bytes", close=True)
        if target.route is None and target.close:
            self._takes_more = False
            self._incoming = None
        if self.exchange is not None or self._queue or self._blocked is not None or server.draining or self._incoming:
            self._queue.append((request, target))
        else:
            self._begin(request, target).handle()

    def _take_violation(self, error: ProtocolError) -> None:
        body = self._incoming
        if body is None:
            if self._takes_more:
                self._refuse(error.status, error.detail, "HEAD" if error.is_head else "")
            return
        # The request itself is broken in its body: its handler is told, and its answer is the last.
        body.fail(error)
        self._incoming = None
        self._takes_more = False

    def _refuse(self, status: int, detail: str, method: str = "") -> None:
        """Queue a last response that no request stands behind, and read no further."""
        request = Request(method, "", 1, b"")
        request.connection = self
        request.started = perf_counter()
        self._queue.append((request, Refusal(status, detail, close=True)))
        self._takes_more = False

    def body_taken(self) -> None:
        """The handler took what had arrived of a body."""
        self._regulate()

    def body_wanted(self, body: Body) -> None:
        """The handler waits for more of a body."""
        if body.expects_continue and self.exchange is not None and body is self.exchange.request.arriving:
            body.expects_continue = False
            self.write(CONTINUE)
        self._regulate()

    def _regulate(self) -> None:
        """Pause or resume reading, by what waits; and read on what there was no time for."""
        if self.state in ENDED:
            return
        full = (
            len(self._queue) > MAX_QUEUE
            or self._blocked is not None
            or (self._incoming is not None and self._incoming.buffered > MAX_BUFFERED)
        )
        has_more = self.reader.has_more and self._wants_more
        if has_more and not full:
            self.server.will_read_on(self)
        paused = full or has_more
        if paused != self._reading_paused and not self.transport.is_closing():
            self._reading_paused = paused
            if paused:
                self.transport.pause_reading()
            else:
                self.last_active = self.server.now
                self.transport.resume_reading()

    # --- answering ------------------------------------------------------------------------------

    @property
    def is_lost(self) -> bool:
        """Whether nothing that is written can reach the client any more."""
        return self.state is State.DEAD or self.transport.is_closing()

    def _begin(self, request: Request, target: Event[Any] | Refusal) -> Exchange:
        exchanges = self.server.exchanges
        limit = self.server.limit_concurrency
        if limit is not None and len(exchanges) >= limit:
            target = Refusal(503, f"{len(exchanges)} requests are in flight already", close=True)
            self.take_no_more()
        exchange = self.exchange = Exchange(self, request, target)
        exchanges.add(exchange)
        if self.state not in ENDED and self.state is not State.HANDLING:
            self.step(State.HANDLING)
        return exchange

    def suspended(self, request: Request, event: Event[Any], handler: Suspended) -> None:
        """The handler of a request that took the fast path has suspended; its task goes on with it."""
        exchange = self._begin(request, event)
        exchange.began = request.started
        exchange.wait_for(handler)

    def resumed(self, value: Any, error: BaseException | None) -> None:
        """The handler of a request that took the fast path, which had suspended, has ended."""
        if self.exchange is not None:
            self.exchange.resumed(value, error)

    def conclude(self, request: Request, event: Event[Any], value: Any, error: BaseException | None) -> None:
        """A request that took the fast path has another response than that writes."""
        exchange = self._begin(request, event)
        exchange.began = request.started
        exchange.take_context()
        exchange.conclude(value, error)

    def _answer_queued(self) -> None:
        """Answer what is queued, in order, until a request has to be waited for."""
        if self._holds:
            return
        self._holds = True
        try:
            while self._queue and self.exchange is None and self._blocked is None:
                request, target = self._queue.pop(0)
                self._begin(request, target).handle()
        finally:
            self._holds = False

    def exchange_ended(self, exchange: Exchange) -> None:
        """The request in flight has its response, or will have none."""
        self.exchange = None
        self.server.exchange_ended(exchange)
        self.last_active = self.server.now
        body = exchange.request.arriving
        if body is not None:
            # When the answer is out before the body was in, the rest is discarded.
            body.fail(ProtocolError(400, "the body was not wanted"))
            if not self._takes_more and self._incoming is body:
                self._incoming = None
        if exchange.was_suspended:
            # This may be within the handler's task: the next request must not begin in its name.
            self.server.loop.call_soon(self._go_on)
        elif not self._holds:
            self._settle()

    def _go_on(self) -> None:
        try:
            self._answer_queued()
            self._settle()
        except BaseException as exc:
            self.fail(exc)

    def answers_last(self) -> bool:
        """Whether the response that is about to be written is the last."""
        return not self._queue and (not self._takes_more or self.server.draining)

    def take_no_more(self) -> None:
        """The response that is about to be written is the last: whatever else came is not answered."""
        self._takes_more = False
        self._queue.clear()
        if self.exchange is None or self._incoming is not self.exchange.request.arriving:
            self._incoming = None

    def _settle(self) -> None:
        """See what the connection waits for, and go on to that state; close when it waits for nothing."""
        if self.state in ENDED:
            return
        reader = self.reader
        if self.exchange is not None:
            new = self.state if self.exchange.is_streaming else State.HANDLING
        elif self._queue:
            new = State.HANDLING if self._blocked is None else State.RESPONDING
            if self._blocked is None:
                self.server.loop.call_soon(self._go_on)
        elif not self._takes_more:
            self._close_when_written()
            return
        elif self._blocked is not None:
            new = State.RESPONDING
        elif reader.in_body:
            new = State.BODY
        elif reader.in_head:
            new = State.HEAD
        else:
            new = IDLE
        if new is not self.state:
            self.step(new)
        self._regulate()

    # --- writing --------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write soon: with all that is ready at the end of this loop iteration."""
        if self.state not in ENDED:
            self.server.outbox.add(self, data)

    @property
    def is_blocked(self) -> bool:
        """Whether the client takes no bytes at present."""
        return self._blocked is not None

    async def writable(self) -> None:
        """Wait until the client takes bytes again, or is gone."""
        if self._blocked is not None:
            await self._blocked

    def write_failed(self, error: BaseException) -> None:
        """The transport refused what was to be written."""
        if not self.transport.is_closing():  # else the client was faster, and `connection_lost` follows
            self.fail(error)

    def stream_progressed(self) -> None:
        """The stream that is sent had a piece."""
        if self._ended:
            self._piece_at = self.server.loop.time()

    # --- the end --------------------------------------------------------------------------------

    def answered_last(self) -> None:
        """The last request that will come was answered on the fast path: close, when that is written."""
        self._takes_more = False
        self.step(State.CLOSING)
        self.server.outbox.closing.append(self)

    def _close_when_written(self) -> None:
        """Close, for everything is answered; but let a client read the last response that may still be sending."""
        reader = self.reader
        knows = self._ended or reader.is_over or (reader.is_idle and self.server.draining)
        self.server.outbox.flush()
        if self.state in ENDED:
            return
        if (
            knows or self.transport.is_closing() or not self.transport.can_write_eof()
        ):  # TLS has no half-closed connections
            self.close()
            return
        # RFC 9112 section 9.6: a socket that is closed while bytes are unread, or still come, is reset by the kernel, and
        # a reset takes from the client what it has not read yet: the very response that says what was wrong. So close
        # this side first and discard what comes, until the client has closed its side, or for a while.
        self.step(State.LINGERING)
        self._since = self.last_active = self.server.now
        self._discarded = 0
        self.transport.resume_reading()
        try:
            self.transport.write_eof()
        except (OSError, RuntimeError):  # it was reset
            self.transport.abort()

    def close(self) -> None:
        """Close, when the client has taken what is written."""
        self.server.outbox.flush()
        if self.state not in ENDED:
            self.step(State.CLOSING)
        self.close_transport()

    def close_transport(self) -> None:
        """Close the transport; it writes first what it has."""
        self._taken_at = self.server.now
        self.transport.close()

    def abort_transport(self) -> None:
        """End the connection at once: its response is incomplete, and must not look complete."""
        self.server.outbox.flush()
        self.take_no_more()
        if self.state not in ENDED:
            self.step(State.CLOSING)
        self.transport.abort()

    def abort(self) -> str | None:
        """Drop the connection with what is in flight; return what that was, None for nothing."""
        what = None
        if self.exchange is not None:
            what = repr(self.exchange)
            self.exchange.cancel()
        elif self.state in (State.HEAD, State.BODY):
            what = "an unfinished request"
        self.take_no_more()
        if self.state not in ENDED:
            self.step(State.CLOSING)
        self.transport.abort()
        return what

    @property
    def is_disconnected(self) -> bool:
        """Whether the client closed its side, or the connection is lost."""
        return self._ended or self.transport.is_closing()

    async def disconnected(self) -> None:
        """Return when the client closed its side, or the connection is lost."""
        if self.is_disconnected:
            return
        goodbye = self.server.loop.create_future()
        if self._goodbyes is None:
            self._goodbyes = []
        self._goodbyes.append(goodbye)
        await goodbye

    def _say_goodbye(self) -> None:
        goodbyes, self._goodbyes = self._goodbyes, None
        for goodbye in goodbyes or ():
            if not goodbye.done():
                goodbye.set_result(None)

    # --- time -----------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Enforce the limits of time of the state; called about once a second."""
        settings, state = self.server.settings, self.state
        if self._is_stuck(now):
            self.transport.abort()
        elif state is IDLE:
            if now - self.last_active > settings.keep_alive_timeout:
                self.close()
        elif state is State.HEAD:
            if now - self._since > settings.header_timeout:
                self._refuse(408, f"the head was not complete after {settings.header_timeout:g} seconds")
                self._go_on()
        elif state is State.LINGERING:
            limit = settings.linger_timeout if self.server.draining else settings.linger_time
            if not self._unsent and (now - self._since > limit or now - self.last_active > settings.linger_timeout):
                self.transport.abort()
        elif (
            self.reader.in_body
            and not self._reading_paused
            and self._wants_more
            and now - self.last_active > settings.body_timeout
        ):
            self._time_out_body()

    def _is_stuck(self, now: float) -> bool:
        """Whether the client has taken none of what was written for too long."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent and self._blocked is None:
            if self._unsent and self.state is State.LINGERING:  # the time to linger begins when all of it is sent
                self._since = self.last_active = now
            self._unsent, self._taken_at = 0, now
            return False
        if unsent < self._unsent or not self._unsent:
            self._taken_at = now
        self._unsent = unsent or 1
        return now - self._taken_at > self.server.settings.write_timeout

    def _time_out_body(self) -> None:
        if self._incoming is not None and (self.exchange is not None or self._queue):
            self._take_violation(ProtocolError(408, "the body stalled"))
            self._go_on()
        else:
            self.transport.abort()

    def drain(self, before: float, *, fresh: bool = False) -> None:
        """Close when nothing is in flight; or leave it, for a while, to a client that may have sent the next request.

        :param before: close when the connection was last active before, on the loop's clock
        :param fresh: also when no request has come yet at all
        """
        if self.state is IDLE and (self.last_active < before if self.reader.position else fresh):
            self.close()
