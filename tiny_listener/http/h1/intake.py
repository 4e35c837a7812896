"""The reading half of a connection: it parses heads into requests for the pipeline, and feeds their bodies."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING

from ...process.safe_logging import log_safely
from ..body.incoming import IncomingBody
from ..errors import BodyTooLargeError, ProtocolError
from ..routing import Refusal
from .exchanges.results import INTERNAL_ERROR
from .reading.reader import END, RequestReader
from .request import H1Request

if TYPE_CHECKING:
    from .connection import HTTPConnection

__all__ = ["Intake"]

logger = logging.getLogger("tiny_listener")

MAX_QUEUE = 32
"""Queued pipelined requests above which reading pauses."""
MAX_BUFFERED = 256 * 1024
"""Buffered body bytes above which reading pauses. As much as uvloop reads at once."""
MAX_DISCARDED = 64 * 1024 * 1024
"""Maximum bytes to discard: four times the default `max_body`. nginx and Apache limit only the time, but a client on
the same machine can send a lot in that time."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Intake:
    """The reading half of a connection.

    :ivar head_since: start of the current head, on the loop's clock
    :ivar has_ended: whether the client has closed its sending side
    :ivar is_paused: whether reading is paused
    """

    __slots__ = ("_connection", "_discarded", "_incoming", "has_ended", "head_since", "is_paused", "reader")

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self.reader = RequestReader(connection.server.settings, connection.server.grammar, H1Request)
        self.head_since = 0.0
        self.has_ended = False
        self._incoming: IncomingBody | None = None  # the body being received
        self.is_paused = False
        self._discarded = 0  # bytes

    # --- what arrives -----------------------------------------------------------------------------

    @property
    def wants_more(self) -> bool:
        """Whether further input is needed: more requests, or the rest of a body."""
        return self._connection.pipeline.takes_more or self._incoming is not None

    @property
    def awaits_body(self) -> bool:
        """Whether the client is expected to send the rest of a body, and reading is not paused."""
        return self.reader.in_body and not self.is_paused and self.wants_more

    def read(self, data: bytes) -> None:
        """Process received bytes on the slow path."""
        connection = self._connection
        connection.last_active = now = connection.server.now
        if not self.wants_more:
            self._discard(data)
            return
        reader, pipeline = self.reader, connection.pipeline
        was_in_head = reader.in_head
        pipeline.is_held = True
        try:
            events = reader.receive(data)
            for event in events:
                if type(event) is H1Request:  # PERF: a third of isinstance
                    self._take(event)
                elif type(event) is bytes:
                    self._feed(event)
                elif event is END:
                    if self._incoming is not None:
                        self._incoming.finish()
                        self._incoming = None
                elif isinstance(event, ProtocolError):
                    self.take_violation(event)
                if not self.wants_more:
                    break
        finally:
            pipeline.is_held = False
        if events or not was_in_head:
            self.head_since = now  # an incomplete head began with these bytes
        if self.has_ended:
            self.end()
        pipeline.answer()
        connection.settle()

    def read_later(self, data: bytes) -> None:
        """Keep bytes that begin with a head for the next iteration."""
        self.reader.keep(data)
        self.head_since = self._connection.server.now
        self._connection.settle()

    def read_on(self) -> bytes:
        """Process the left-over bytes, or return them if the fast path may process them."""
        connection = self._connection
        if connection.is_free and not self.has_ended:
            kept = self.reader.take_kept()
            if kept is not None:
                connection.settle()
                return kept
        self.read(b"")
        return b""

    def _discard(self, data: bytes) -> None:
        """Discard unneeded input; abort the connection above the limit."""
        self._discarded += len(data)
        if self._discarded > MAX_DISCARDED:
            self._connection.transport.abort()

    def _feed(self, piece: bytes) -> None:
        body = self._incoming
        if body is not None:
            body.feed(piece)
            if body.is_too_large:
                self.take_violation(BodyTooLargeError(body.max_size))

    def _take(self, request: H1Request) -> None:
        """Put a request into the pipeline, with its event or its refusal."""
        connection = self._connection
        pipeline, server = connection.pipeline, connection.server
        if not pipeline.takes_more:
            return
        request.connection = connection
        request.started = perf_counter()
        try:
            target = server.routing.find_event(request)
        except BaseException as exc:  # raised by an application's convertor
            log_safely(logger, logging.ERROR, "Routing %r failed", request, exc_info=exc)
            target = INTERNAL_ERROR
        limit = server.settings.max_body
        if target.route is not None:
            limit = target.route.opts.get("max_body", limit)
        if request.content is None:
            request.arriving = self._incoming = IncomingBody(self, expects_continue=request.expects_continue)
            request.arriving.max_size = limit
        if target.route is not None and request.length is not None and request.length > limit:
            target = Refusal(413, f"the body is longer than {limit} bytes", close=True)
        if target.route is None and target.close:
            pipeline.takes_more = False
            self._incoming = None
        pipeline.put(request, target)

    def take_violation(self, error: ProtocolError) -> None:
        """The client violated the protocol or exceeded a limit."""
        pipeline = self._connection.pipeline
        body, self._incoming = self._incoming, None
        if body is not None:
            # The error is in the body of a request: its handler gets the error, and its response is the last.
            body.fail(error)
            pipeline.takes_more = False
        elif pipeline.takes_more:
            pipeline.refuse(error.status, error.detail, "HEAD" if error.is_head else "")

    def time_out_body(self) -> bool:
        """The body stalled. Return whether there is a request to answer with the error."""
        pipeline = self._connection.pipeline
        if self._incoming is None or (pipeline.exchange is None and not pipeline):
            return False
        self.take_violation(ProtocolError(408, "the body stalled"))
        return True

    def end(self) -> None:
        """The client has closed its sending side. Does nothing while left-over bytes remain to be parsed."""
        if self.reader.has_more:
            return
        self.disconnect()
        pipeline = self._connection.pipeline
        if pipeline.takes_more and self.reader.in_head:
            pipeline.refuse(400, "the connection ended within the head of a request")
            pipeline.answer()
        pipeline.takes_more = False

    def disconnect(self) -> None:
        """The rest of a body will not come."""
        body, self._incoming = self._incoming, None
        if body is not None:
            body.disconnect()

    # --- bodies ------------------------------------------------------------------------------------

    def take_no_more(self, current: IncomingBody | None) -> None:
        """Drop the incoming body unless it belongs to the request in flight: no further request is answered."""
        if self._incoming is not current:
            self._incoming = None

    def unwanted(self, body: IncomingBody) -> None:
        """The response was sent before the body was complete: discard the rest of the body."""
        body.fail(ProtocolError(400, "the body was not wanted"))
        if not self._connection.pipeline.takes_more and self._incoming is body:
            self._incoming = None

    def body_taken(self) -> None:
        """The handler has read the buffered part of a body."""
        self.regulate()

    def body_wanted(self, body: IncomingBody) -> None:
        """The handler waits for more of a body."""
        exchange = self._connection.pipeline.exchange
        if body.expects_continue and exchange is not None and body is exchange.request.arriving:
            body.expects_continue = False
            self._connection.write(CONTINUE)
        self.regulate()

    # --- backpressure -----------------------------------------------------------------------------

    def regulate(self) -> None:
        """Pause or resume reading, depending on what is queued; schedule left-over bytes."""
        connection = self._connection
        if connection.is_over:
            return
        full = (
            connection.is_blocked
            or len(connection.pipeline) > MAX_QUEUE
            or (self._incoming is not None and self._incoming.buffered > MAX_BUFFERED)
        )
        has_more = self.reader.has_more and self.wants_more
        if has_more and not full:
            connection.server.will_read_on(connection)
        paused = full or has_more
        if paused != self.is_paused and not connection.transport.is_closing():
            self.is_paused = paused
            if paused:
                connection.transport.pause_reading()
            else:
                connection.last_active = connection.server.now
                connection.server.outside(connection.transport.resume_reading)

    def linger(self) -> None:
        """Resume reading, to discard further input."""
        self._discarded = 0
        self._connection.server.outside(self._connection.transport.resume_reading)
