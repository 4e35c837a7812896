"""The request, as handlers see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import EventDataError
from .errors import BodyTooLargeError, ClientDisconnectedError, ProtocolError
from .framing import Head

if TYPE_CHECKING:
    from .connection import HTTPConnection

__all__ = ["Request"]


class Request(Head):
    """One HTTP request; ask for it by annotation.

    `method` and `path` are texts (the path decoded, an encoded slash again a slash), `target` is what was
    sent, `version` the minor version of HTTP/1 that the client speaks, `headers` are pairs of bytes with names
    in lower case.
    """

    path = ""
    started = 0.0
    """When the head was read, on the clock of `time.perf_counter`, in seconds."""
    max_body = 0
    is_complete = True
    """Whether the whole of the body has arrived."""
    connection: HTTPConnection
    """The connection that it came on."""
    _parts: list[bytes] | None = None
    _read = 0
    _body: bytes | None = None
    _error: Exception | None = None
    _waiter: asyncio.Future[None] | None = None

    @classmethod
    def from_event(cls, event: Any) -> Request:
        """Return the request that an event came from.

        :raises EventDataError: it came from no HTTP request
        """
        request = event.data.get("request")
        if not isinstance(request, cls):
            raise EventDataError(f"The event {event.route.path!r} came from no HTTP request, so it has no Request")
        return request

    @property
    def query_string(self) -> str:
        """What follows the first question mark of the target, as sent."""
        return self.target.partition("?")[2]

    @property
    def http_version(self) -> str:
        """`1.1` or `1.0`."""
        return f"1.{self.version}"

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer; None on a unix socket."""
        return self.connection.client

    def header(self, name: str, default: str | None = None) -> str | None:
        """Return a header's value, decoded as Latin-1; several of one name are joined with a comma (RFC 9110 5.3)."""
        key = name.lower().encode("latin-1")
        values = [value for n, value in self.headers if n == key]
        return b", ".join(values).decode("latin-1") if values else default

    async def stream(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces of the body as they arrive; what was read is not kept.

        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client went away first
        """
        if self._body is not None:
            yield self._body
            return
        while True:
            if self._parts:
                piece = b"".join(self._parts)
                self._parts = None
                self.connection.body_taken()
                yield piece
            elif self._error is not None:
                raise self._error
            elif self.is_complete:
                return
            else:
                self.connection.body_wanted(self)
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter

    async def body(self) -> bytes:
        """Return the whole body.

        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client went away first
        """
        if self._body is None:
            if self.is_complete and self._error is None:  # PERF: it is all here
                self._body = b"".join(self._parts or ())
                self._parts = None
            else:
                self._body = b"".join([piece async for piece in self.stream()])
        return self._body

    async def text(self) -> str:
        """Return the body, decoded from UTF-8.

        :raises ProtocolError: 400, it is not UTF-8
        """
        try:
            return (await self.body()).decode("utf-8")
        except UnicodeDecodeError:
            raise ProtocolError(400, "the body is not UTF-8") from None

    async def json(self) -> Any:
        """Return the body, decoded from JSON.

        :raises ProtocolError: 400, it is not JSON
        """
        try:
            return msgspec.json.decode(await self.body())
        except msgspec.DecodeError as exc:
            raise ProtocolError(400, f"the body is not JSON: {exc}") from None

    # --- the connection's side ------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Bytes of the body that arrived and were not taken yet."""
        return sum(map(len, self._parts or ()))

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body in."""
        self._read += len(piece)
        if self._error is None:
            if self._read > self.max_body:
                self.fail(BodyTooLargeError(self.max_body))
                return
            if self._parts is None:
                self._parts = []
            self._parts.append(piece)
            self._wake()

    def finish(self) -> None:
        """The body is complete."""
        self.is_complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """The body will never be complete."""
        if not self.is_complete and self._error is None:
            self._error = error
            self._parts = None
            self._wake()

    def disconnect(self) -> None:
        """The client went away."""
        self.fail(ClientDisconnectedError("the client closed the connection before its request was complete"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __repr__(self) -> str:
        return f"Request({self.method} {self.target!r})"
