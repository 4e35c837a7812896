"""The request, as handlers see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import EventDataError
from .errors import BodyTooLargeError, ClientDisconnectedError, ProtocolError

if TYPE_CHECKING:
    from .connection import HTTPConnection
    from .framing import Head

__all__ = ["Request"]


class Request:
    """One HTTP request; ask for it by annotation.

    `method` and `path` are texts (the path decoded, an encoded slash again a slash), `target` the bytes that
    were sent, `headers` pairs of bytes with names in lower case.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_continued",
        "_error",
        "_head",
        "_parts",
        "_read",
        "_waiter",
        "is_complete",
        "keep_alive",
        "max_body",
        "method",
        "path",
        "started",
        "version",
    )

    def __init__(self, head: Head, connection: HTTPConnection, started: float) -> None:
        self._head = head
        self.method = head.method
        self.version = head.version
        """The minor version of HTTP/1 that the client speaks."""
        self.keep_alive = head.keep_alive
        """Whether the client wants the connection to go on."""
        self._connection = connection
        self.started = started
        self.path = ""
        self.max_body = 0
        self.is_complete = head.length == 0
        """Whether the whole of the body has arrived."""
        self._continued = False
        self._parts: list[bytes] = []
        self._read = 0
        self._body: bytes | None = None
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

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
    def target(self) -> bytes:
        """The request target, as sent."""
        return self._head.target

    @property
    def query_string(self) -> bytes:
        """What follows the first question mark of the target."""
        return self._head.target.partition(b"?")[2]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The header fields in their order: names in lower case, values as sent."""
        return self._head.headers

    @property
    def http_version(self) -> str:
        """`1.1` or `1.0`."""
        return f"1.{self._head.version}"

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer; None on a unix socket."""
        return self._connection.client

    def header(self, name: str, default: str | None = None) -> str | None:
        """Return a header's value, decoded as Latin-1; several of one name are joined with a comma (RFC 9110 5.3)."""
        key = name.lower().encode("latin-1")
        values = [value for n, value in self._head.headers if n == key]
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
                self._parts.clear()
                self._connection.body_taken()
                yield piece
            elif self._error is not None:
                raise self._error
            elif self.is_complete:
                return
            else:
                self._connection.body_wanted(self)
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter

    async def body(self) -> bytes:
        """Return the whole body.

        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client went away first
        """
        if self._body is None:
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
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body."""
        return self._head.expects_continue and not self._continued

    def continued(self) -> None:
        """`100 Continue` was sent."""
        self._continued = True

    @property
    def buffered(self) -> int:
        """Bytes of the body that arrived and were not taken yet."""
        return sum(map(len, self._parts))

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body in."""
        self._read += len(piece)
        if self._error is None:
            if self._read > self.max_body:
                self.fail(BodyTooLargeError(self.max_body))
                return
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
            self._parts.clear()
            self._wake()

    def disconnect(self) -> None:
        """The client went away."""
        self.fail(ClientDisconnectedError("the client closed the connection before its request was complete"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __repr__(self) -> str:
        return f"Request({self.method} {self.target.decode('latin-1')!r})"
