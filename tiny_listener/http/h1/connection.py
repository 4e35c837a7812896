"""One HTTP/1 connection: its reader, its pipeline of requests, its transport, and the table of its life.

What arrives is kept by the server until all that this loop iteration brings is there; the fast path takes it, or the
intake, which puts requests into the pipeline.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ...process.safe_logging import log_safely
from ..forwarded import Origin
from .disconnects import Departure
from .intake import Intake
from .pipeline import Pipeline
from .states import ENDED, STEPS, IllegalConnectionStep, State
from .timeouts import WriteProgress

if TYPE_CHECKING:
    from ..request import Request
    from .exchange import Exchange
    from .server import HTTPServer

__all__ = ["HTTPConnection"]

logger = logging.getLogger("tiny_listener")

MAX_WAITING = 64 * 1024
"""Bytes that are read at once, not at the end of the iteration: what comes in such pieces may have to be stopped."""
IDLE = State.IDLE


class HTTPConnection(asyncio.Protocol):
    """One connection of an `HTTPServer`."""

    __slots__ = (
        "__weakref__",
        "_blocked",
        "_departure",
        "client",
        "intake",
        "last_active",
        "lingers_since",
        "pipeline",
        "reader",
        "server",
        "state",
        "transport",
        "writing",
    )

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.intake = Intake(self)
        self.reader = self.intake.reader  # PERF: for the fast path
        self.pipeline = Pipeline(self)
        self.transport: Any = None
        self.client: tuple[str, int] | None = None
        """Address and port of the peer; None on a unix socket."""
        self.state = IDLE
        """Where it is in its life; in IDLE nothing waits here, so that what arrives may take the fast path."""
        self.last_active = server.now
        """When something was last read or answered, on the loop's clock; up to a sweep of the server too early."""
        self.lingers_since = 0.0
        self._departure: Departure | None = None
        self._blocked: asyncio.Future[None] | None = None  # while the client takes no bytes
        self.writing = WriteProgress(server.now)

    def step(self, new: State) -> None:
        """Go on to a state.

        :raises IllegalConnectionStep: it cannot follow on the present one
        """
        if new not in STEPS[self.state]:
            raise IllegalConnectionStep(self.state, new)
        self.state = new

    def fail(self, error: BaseException) -> None:
        """Something that concerns this connection alone has failed, by a fault of the server's: log it, and end it."""
        exchange = self.pipeline.exchange
        what = "" if exchange is None or exchange.event is None else f" at {exchange.event.route.path!r}"
        try:
            self.abort()
        finally:
            message = "The connection of %s failed%s; it is closed"
            log_safely(logger, logging.ERROR, message, self.client, what, exc_info=error)

    # --- the transport's calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self.transport = transport
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.client = (peer[0], peer[1])
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
            self.intake.has_ended = True
            self._see_the_end()
        except BaseException as exc:
            self.fail(exc)
        return self.state not in ENDED

    def _see_the_end(self) -> None:
        """The client will send nothing more."""
        if self.state in ENDED:
            return
        if self._departure is not None:
            self._departure.tell()
        exchange = self.pipeline.exchange
        if self.scheme == "https":  # TLS has no half-closed connections: nothing reaches the client any more
            self.intake.disconnect()
            self.take_no_more()
            if exchange is not None:
                exchange.cancel_response()
            self.close()
            return
        if exchange is not None and exchange.is_streaming:
            self.departure.watch_stream()
        self.intake.end()
        self.settle()

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
        self.intake.has_ended = True
        self.intake.disconnect()
        self.take_no_more()
        self._unblock()
        if self._departure is not None:
            self._departure.tell()
        if self.pipeline.exchange is not None:
            self.pipeline.exchange.cancel_response()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        if self._blocked is None:
            self._blocked = self.server.loop.create_future()
            self.writing.restart(self.server.now)
        if self.state is IDLE:
            self.step(State.RESPONDING)
        self.intake.regulate()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        if self._blocked is not None:
            self._unblock()
            self.go_on()

    def _unblock(self) -> None:
        self.writing.restart(self.server.now)
        blocked, self._blocked = self._blocked, None
        if blocked is not None and not blocked.done():
            blocked.set_result(None)

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

    # --- answering ------------------------------------------------------------------------------

    def handles(self) -> None:
        """A request is in flight."""
        if self.state not in ENDED and self.state is not State.HANDLING:
            self.step(State.HANDLING)

    def take_no_more(self) -> None:
        """The response that is about to be written is the last: whatever else came is not answered."""
        self.pipeline.take_no_more()
        exchange = self.pipeline.exchange
        self.intake.take_no_more(None if exchange is None else exchange.request.arriving)

    def exchange_ended(self, exchange: Exchange) -> None:
        """The request in flight has its response, or will have none."""
        self.pipeline.ended(exchange)
        self.last_active = self.server.now
        if exchange.request.arriving is not None:
            self.intake.unwanted(exchange.request.arriving)
        if exchange.was_suspended:
            # This may be within the handler's task: the next request must not begin in its name.
            self.server.call_soon(self.go_on)
        elif not self.pipeline.is_held:
            self.settle()

    def go_on(self) -> None:
        """Answer what waits, and see what is waited for then."""
        try:
            self.pipeline.answer()
            self.settle()
        except BaseException as exc:
            self.fail(exc)

    def settle(self) -> None:
        """See what the connection waits for, and go on to that state; close when it waits for nothing."""
        if self.state in ENDED:
            return
        reader, pipeline = self.reader, self.pipeline
        if pipeline.exchange is not None:
            new = self.state if pipeline.exchange.is_streaming else State.HANDLING
        elif self._blocked is not None and (pipeline or pipeline.takes_more):
            new = State.RESPONDING
        elif pipeline:
            new = State.HANDLING
            self.server.call_soon(self.go_on)
        elif not pipeline.takes_more:
            self._close_when_written()
            return
        elif reader.in_body:
            new = State.BODY
        else:
            new = State.HEAD if reader.in_head else IDLE
        if new is not self.state:
            self.step(new)
        self.intake.regulate()

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

    # --- the end --------------------------------------------------------------------------------

    def answered_last(self) -> None:
        """The last request that will come was answered on the fast path: close, when that is written."""
        self.pipeline.takes_more = False
        self.step(State.CLOSING)
        self.server.outbox.closing.append(self)

    def _close_when_written(self) -> None:
        """Close, for everything is answered; but let a client read the last response that may still be sending."""
        reader = self.reader
        knows = self.intake.has_ended or reader.is_over or (reader.is_idle and self.server.draining)
        self.server.outbox.flush()
        if self.state in ENDED:
            return
        if knows or self.transport.is_closing():
            self.close()
        else:
            self.linger(self.server.now)

    def linger(self, since: float) -> None:
        """Close this side, and discard what comes until the client has closed its side, or for a while.

        :param since: from when on the time to linger counts
        """
        if not self.transport.can_write_eof():  # TLS has no half-closed connections
            self.close()
            return
        # RFC 9112 section 9.6: the kernel resets a socket that is closed while bytes are unread, or still come, and a
        # reset takes from the client what it has not read yet: the very response that says what was wrong. So close
        # this side first and discard what comes, until the client has closed its side, or for a while.
        self.step(State.LINGERING)
        self.lingers_since = since
        self.last_active = self.server.now
        self.intake.linger()
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
        self.writing.restart(self.server.now)
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
        exchange = self.pipeline.exchange
        if exchange is not None:
            what = repr(exchange)
            exchange.cancel()
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
        has_left = self._departure is not None and self._departure.has_left
        return self.intake.has_ended or has_left or bool(self.transport.is_closing())

    @property
    def is_over(self) -> bool:
        """Whether nothing is taken in or written any more."""
        return self.state in ENDED

    @property
    def is_free(self) -> bool:
        """Whether no request is in flight or waits, and the client takes what is written."""
        return self.pipeline.exchange is None and not self.pipeline and self._blocked is None and not self.is_over

    @property
    def is_lost(self) -> bool:
        """Whether nothing that is written can reach the client any more."""
        return self.state is State.DEAD or bool(self.transport.is_closing())

    @property
    def departure(self) -> Departure:
        """What waits for the client to go."""
        if self._departure is None:
            self._departure = Departure(self)
        return self._departure

    async def disconnected(self) -> None:
        """Return when the client closed its side, or the connection is lost."""
        if not self.is_disconnected:
            await self.departure.wait()
