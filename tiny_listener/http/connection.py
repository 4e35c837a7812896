"""One HTTP connection: the thin rim between the transport, the reader of requests, and their answers.

What arrives is kept by the server until all that this turn of the loop brings is there; then `read` takes it.
Requests go on to be answered in `Answering`. Reading pauses while the queue is long, while a body that nobody takes
piles up, and while the client takes no bytes.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING

from .answering import Answering
from .body import Body
from .errors import ProtocolError
from .forwarded import Origin
from .framing import END
from .lingering import linger
from .request import Request
from .routing import Refusal

if TYPE_CHECKING:
    from .server import HTTPServer

__all__ = ["HTTPConnection"]

MAX_QUEUE = 32
"""Pipelined requests that may wait; then reading pauses."""
MAX_BUFFERED = 256 * 1024
"""Bytes of a body that may wait for the handler; then reading pauses. As much as uvloop reads at once."""
MAX_WAITING = 64 * 1024
"""Bytes that are read at once, and not at the end of the turn: what comes in such pieces may have to be stopped."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HTTPConnection(Answering):
    """One connection of an `HTTPServer`."""

    __slots__ = ("__weakref__", "_blocked_since", "_head_since", "_reading_paused", "client")

    def __init__(self, server: HTTPServer) -> None:
        super().__init__(server)
        self.client: tuple[str, int] | None = None
        """Address and port of the peer; None on a unix socket."""
        self._head_since = 0.0
        self._reading_paused = False
        self._blocked_since = 0.0

    # --- the transport's calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self.transport = transport
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.client = (peer[0], peer[1])
        self.last_active = self._server.now
        self._server.connections.add(self)
        if self._server.handshaking:
            self._server.handshaking.discard(self)

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return self._server.scheme

    def origin_of(self, request: Request) -> Origin:
        """Return where a request came from, as the peer, or proxies that are trusted, say."""
        proxies = self._server.proxies
        if proxies is None:
            return Origin(self.client, self.scheme)
        return proxies.origin(self.client, self.scheme, request.fields)

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
        return self.in_hand and self.scheme == "http"  # TLS has no half-closed connections

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`: what was asked for is still done, though nobody will see the answer."""
        if not self._closing:
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

    # --- reading --------------------------------------------------------------------------------

    def read(self, data: bytes) -> None:
        """Take in what arrived and did not go the usual way."""
        self.is_free = False
        if self._closing:
            return
        self.last_active = now = self._server.now
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
                self.last_active = self._server.now
                self.transport.resume_reading()

    # --- time and end ---------------------------------------------------------------------------

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
            if now - self.last_active > settings.body_timeout:
                self._time_out("the body stalled")
        elif self.in_hand:
            return
        elif self._head_since:
            if now - self._head_since > settings.header_timeout:
                self._refuse(408, f"the head was not complete after {settings.header_timeout:g} seconds")
        elif now - self.last_active > settings.keep_alive_timeout:
            self._close()

    def _time_out(self, detail: str) -> None:
        if self._incoming is not None and self.in_hand:
            self._take_violation(ProtocolError(408, detail))
        else:
            self.transport.abort()

    def _end(self) -> None:
        """Close, for everything is answered; but let a client read that which may still be sending."""
        reader = self.reader
        if self._ended or reader.is_over or (reader.is_idle and self._server.draining):
            self._close()
        else:
            self.flush()
            linger(self, self._server, self.transport)

    def drain(self, before: float = inf, *, fresh: bool = False) -> None:
        """Close when nothing is in hand; or leave it, for a while, to a client that may have sent the next request.

        :param before: close when the connection was last active before, on the loop's clock
        :param fresh: also when no request has come yet at all
        """
        if not self.in_hand and self.reader.is_idle and (self.last_active < before if self.reader.position else fresh):
            self._close()

    def abort(self) -> str:
        """Drop the connection with what is in hand; return what that was."""
        what = repr(self._current) if self._current is not None else "an unfinished request"
        for task in (self._streaming, self._handling):
            if task is not None:
                task.cancel()
        self.transport.abort()
        return what
