"""One HTTP/1 connection: its reader, its pipeline of requests, its transport, and its state.

The server collects the received bytes of all connections until the end of the loop iteration. Then the fast path
processes them, or the intake, which puts requests into the pipeline.
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
    from .exchanges.exchange import Exchange
    from .server import HTTPServer

__all__ = ["HTTPConnection"]

logger = logging.getLogger("tiny_listener")

MAX_WAITING = 64 * 1024
"""Longer pieces are processed at once, not at the end of the iteration: reading may have to pause after them."""
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
        """The state. In IDLE nothing is pending, so new bytes may take the fast path."""
        self.last_active = server.now
        """Time of the last read or response, on the loop's clock; too early by up to one sweep period."""
        self.lingers_since = 0.0
        self._departure: Departure | None = None
        self._blocked: asyncio.Future[None] | None = None  # while the client takes no bytes
        self.writing = WriteProgress(server.now)

    def step(self, new: State) -> None:
        """Change the state.

        :raises IllegalConnectionStep: the table has no such transition
        """
        if new not in STEPS[self.state]:
            raise IllegalConnectionStep(self.state, new)
        self.state = new

    def fail(self, error: BaseException) -> None:
        """Log an internal error that concerns only this connection, and close the connection."""
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
        """See `asyncio.Protocol`. Requests that were received are still answered before the connection closes."""
        try:
            self.server.work()  # for the bytes received before
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
        if self.scheme == "https":  # TLS has no half-closed connections: nothing can reach the client
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
        """See `asyncio.BaseProtocol`. Requests that were received are still handled, though no client is left."""
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
        """The connection is lost: end everything that waits for it."""
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

    @property
    def server_address(self) -> tuple[str, int | None]:
        """The address and port that the client connected to; `localhost` for a unix socket."""
        address = self.transport.get_extra_info("sockname")
        return (address[0].partition("%")[0], address[1]) if isinstance(address, tuple) else ("localhost", None)

    def origin_of(self, request: Request) -> Origin:
        """Return the origin of a request: from trusted proxies, or else the peer."""
        proxies = self.server.proxies
        if proxies is None:
            return Origin(self.client, self.scheme)
        return proxies.origin(self.client, self.scheme, request.fields)

    # --- answering ------------------------------------------------------------------------------

    def handles(self) -> None:
        """A request is now in flight."""
        if self.state not in ENDED and self.state is not State.HANDLING:
            self.step(State.HANDLING)

    def take_no_more(self) -> None:
        """Answer no request after the current one."""
        self.pipeline.take_no_more()
        exchange = self.pipeline.exchange
        self.intake.take_no_more(None if exchange is None else exchange.request.arriving)

    def exchange_ended(self, exchange: Exchange) -> None:
        """The request in flight was answered or dropped."""
        self.pipeline.ended(exchange)
        self.last_active = self.server.now
        if exchange.request.arriving is not None:
            self.intake.unwanted(exchange.request.arriving)
        if exchange.was_suspended:
            # This may run in the handler's task, and the next request must not begin in that task.
            self.server.call_soon(self.go_on)
        elif not self.pipeline.is_held:
            self.settle()

    def go_on(self) -> None:
        """Answer the queued requests, then update the state."""
        try:
            self.pipeline.answer()
            self.settle()
        except BaseException as exc:
            self.fail(exc)

    def settle(self) -> None:
        """Change to the state that fits what the connection waits for; close it if it waits for nothing."""
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
        """Queue bytes; they are written at the end of this loop iteration."""
        if self.state not in ENDED:
            self.server.outbox.add(self, data)

    @property
    def is_blocked(self) -> bool:
        """Whether writing is blocked because the client does not read."""
        return self._blocked is not None

    async def writable(self) -> None:
        """Wait until the client reads again, or is gone."""
        if self._blocked is not None:
            await self._blocked

    def write_failed(self, error: BaseException) -> None:
        """The transport raised on a write."""
        if not self.transport.is_closing():  # otherwise the client closed first, and `connection_lost` follows
            self.fail(error)

    # --- the end --------------------------------------------------------------------------------

    def answered_last(self) -> None:
        """The fast path answered the last request of the connection: close it once the response is written."""
        self.pipeline.takes_more = False
        self.step(State.CLOSING)
        self.server.outbox.closing.append(self)

    def _close_when_written(self) -> None:
        """Close, since everything is answered. Linger if the client may still be sending, so that it can read the
        last response.
        """
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
        """Close the sending side, and discard input until the client closes its side or the limit is over.

        :param since: start of the linger time, on the loop's clock
        """
        if not self.transport.can_write_eof():  # TLS has no half-closed connections
            self.close()
            return
        # RFC 9112 section 9.6: if a socket is closed while input is unread or still arrives, the kernel sends a reset.
        # A reset discards what the client has not read yet, such as the response that explains the error. So close
        # the sending side first, and discard input for a while.
        self.step(State.LINGERING)
        self.lingers_since = since
        self.last_active = self.server.now
        self.intake.linger()
        try:
            self.transport.write_eof()
        except (OSError, RuntimeError):  # it was reset
            self.transport.abort()

    def close(self) -> None:
        """Close once the client has read what was written."""
        self.server.outbox.flush()
        if self.state not in ENDED:
            self.step(State.CLOSING)
        self.close_transport()

    def close_transport(self) -> None:
        """Close the transport; it first writes its buffer."""
        self.writing.restart(self.server.now)
        self.transport.close()

    def abort_transport(self) -> None:
        """End the connection at once, because its response is incomplete and must not look complete."""
        self.server.outbox.flush()
        self.take_no_more()
        if self.state not in ENDED:
            self.step(State.CLOSING)
        self.transport.abort()

    def abort(self) -> str | None:
        """Drop the connection and its request in flight. Return a description of the request, or None."""
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
        """Whether the client has closed its side, or the connection is lost."""
        has_left = self._departure is not None and self._departure.has_left
        return self.intake.has_ended or has_left or bool(self.transport.is_closing())

    @property
    def is_over(self) -> bool:
        """Whether the connection accepts and writes nothing more."""
        return self.state in ENDED

    @property
    def is_free(self) -> bool:
        """Whether no request is in flight or queued, and writing is not blocked."""
        return self.pipeline.exchange is None and not self.pipeline and self._blocked is None and not self.is_over

    @property
    def is_lost(self) -> bool:
        """Whether writes can no longer reach the client."""
        return self.state is State.DEAD or bool(self.transport.is_closing())

    @property
    def departure(self) -> Departure:
        """The waiters for the client's disconnect, created on first use."""
        if self._departure is None:
            self._departure = Departure(self)
        return self._departure

    async def disconnected(self) -> None:
        """Wait until the client closes its side or the connection is lost."""
        if not self.is_disconnected:
            await self.departure.wait()
