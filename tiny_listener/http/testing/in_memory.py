"""A request to a server in this process, over an in-memory transport. Used by `testing`."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from httptools import HttpResponseParser

from ..h1.server import HTTPServer
from ..headers import ReceivedHeaders
from ..source import HTTPSource
from .cookies import read_cookie

if TYPE_CHECKING:
    from ...core.listener import Listener
    from ..h1.connection import HTTPConnection
    from ..headers import Field

__all__ = ["HOST", "InMemory", "TestResponse", "exchange", "failures_of", "host_and_path"]

HOST = "testserver"
"""The host that requests are for, unless they name another."""
PIECE = 64 * 1024
"""Bytes of a request that the server receives at once."""


class TestResponse:
    """The response.

    :ivar url: the URL that was asked for; after redirects the last one
    :ivar history: the responses that redirected to it, the first one first
    """

    __test__ = False  # pytest collects by name

    def __init__(self, status_code: int, fields: list[Field], content: bytes) -> None:
        self.status_code = status_code
        self.headers = ReceivedHeaders(fields)
        self.content = content
        self.url = ""
        self.history: list[TestResponse] = []

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets, by name; not those that it deletes."""
        now = time.time()
        host, path = host_and_path(self.url)
        read = [read_cookie(line, host, path, now) for line in self.headers.getlist("set-cookie")]
        return {one.name: one.value for one in read if one and (one.expires is None or one.expires > now)}

    @property
    def text(self) -> str:
        """The body, decoded as UTF-8."""
        return self.content.decode("utf-8")

    def json(self) -> Any:
        """Return the body, decoded as JSON.

        :raises msgspec.DecodeError: it is not JSON
        """
        return msgspec.json.decode(self.content)

    def __repr__(self) -> str:
        return f"TestResponse({self.status_code})"


class InMemory(HTTPSource):
    """An HTTP source without a socket."""

    async def open(self, listener: Listener[Any]) -> None:
        """Make the server of its connections; see `Source`."""
        self.server = HTTPServer(listener, self.settings)


class _Pipe(asyncio.Transport):
    """The server's end of an in-memory connection. It parses the response while it is written."""

    def __init__(self, server: HTTPServer, method: str) -> None:
        super().__init__({"peername": ("testclient", 50000)})
        self._loop = server.loop
        self._is_head = method == "HEAD"
        self._is_closing = False
        self.protocol: Any = server()
        self.parser = HttpResponseParser(self)
        self.fields: list[Field] = []
        self.content: list[bytes] = []
        self.status = 0
        self.answered: asyncio.Future[bool] = self._loop.create_future()
        """Whether the response is complete; set once it is, or once the connection has ended."""
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Set when the server knows that the connection has ended."""
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.protocol.connection_made(self)

    # --- asyncio.Transport: see there -----------------------------------------------------------

    def write(self, data: Any) -> None:
        if not self._is_closing and not self.answered.done():
            self.parser.feed_data(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.may_send.clear()

    def resume_reading(self) -> None:
        self.may_send.set()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol  # type: ignore[no-any-return]

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._loop.call_soon(self._lose)
        if not self.answered.done():
            self.answered.set_result(False)

    def abort(self) -> None:
        self.close()

    def _lose(self) -> None:
        self.protocol.connection_lost(None)
        self.lost.set_result(None)

    async def wait_to_send(self) -> None:
        """Return when the server reads, or has responded."""
        if not self.may_send.is_set():
            resumed: asyncio.Future[Any] = asyncio.ensure_future(self.may_send.wait())
            await asyncio.wait({resumed, self.answered}, return_when="FIRST_COMPLETED")
            resumed.cancel()

    # --- httptools' calls -----------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a field."""
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The response to HEAD has no content, whatever its headers say."""
        self.status = self.parser.get_status_code()
        if self._is_head and self.status >= 200 and not self.answered.done():
            self.answered.set_result(True)

    def on_body(self, piece: bytes) -> None:
        """Store a piece of the body."""
        self.content.append(piece)

    def on_message_complete(self) -> None:
        """The response is complete, unless it is an interim one (RFC 9110 section 15.2)."""
        if self.status < 200:
            self.fields.clear()
        elif not self.answered.done():
            self.answered.set_result(True)


def failures_of(server: HTTPServer) -> dict[HTTPConnection, BaseException]:
    """Return the last exception that the application did not handle, by connection."""
    keeper = server.on_failure
    if not isinstance(keeper, _Keeper):
        server.on_failure = keeper = _Keeper()
    return keeper.failures


class _Keeper:
    """Stores failures."""

    def __init__(self) -> None:
        self.failures: dict[HTTPConnection, BaseException] = {}

    def __call__(self, connection: HTTPConnection, error: BaseException) -> None:
        self.failures[connection] = error


async def exchange(
    server: HTTPServer, method: str, target: str, fields: list[tuple[str, str]], body: bytes, *, raises: bool
) -> TestResponse:
    """Send a request to a server on a new connection.

    :param fields: header fields; Host and Content-Length are added if they are missing
    :param raises: whether to raise an exception that the application did not handle; those that are for the test, such
        as that of `pytest.fail()`, are raised in any case
    :raises ConnectionError: the connection ended before the response was complete
    """
    fields = _with_framing(method, fields, body)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    data = f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body
    failures = failures_of(server)
    pipe = _Pipe(server, method)
    connection = pipe.protocol
    try:
        for start in range(0, len(data), PIECE):
            await pipe.wait_to_send()
            if pipe.answered.done():
                break
            connection.data_received(data[start : start + PIECE])
            await asyncio.sleep(0)
        complete = await pipe.answered
        if complete:
            await connection.pipeline.wait_ended()  # what dependencies clean up after the response
    finally:
        pipe.close()
        await pipe.lost
        failure = failures.pop(connection, None)
    if failure is not None and (raises or _ends_test(failure)):
        raise failure
    if not complete:
        raise ConnectionError(f"the connection ended before the response to {method} {target} was complete")
    return TestResponse(pipe.status, pipe.fields, b"".join(pipe.content))


def _ends_test(failure: BaseException) -> bool:
    """Whether a handler raised what is for the test itself: `pytest.fail()`, `pytest.skip()`, or Ctrl-C."""
    outcomes: Any = sys.modules.get("_pytest.outcomes")
    kinds = (KeyboardInterrupt,) if outcomes is None else (KeyboardInterrupt, outcomes.OutcomeException, outcomes.Exit)
    return isinstance(failure, kinds)


def host_and_path(url: str) -> tuple[str, str]:
    """Return the host, without a port, and the path of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.path or "/"


def _with_framing(method: str, fields: list[tuple[str, str]], body: bytes) -> list[tuple[str, str]]:
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields = [("host", HOST), *fields]
    if not names & {"content-length", "transfer-encoding"} and (body or method in ("POST", "PUT", "PATCH")):
        fields = [*fields, ("content-length", str(len(body)))]
    return fields
