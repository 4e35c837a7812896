"""Ask an application in process, without a socket: the same connection, server and router, over memory.

`TestClient` is for plain tests; `httpx_transport` is for those that run in a loop of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

import msgspec
from httptools import HttpResponseParser

from ..loop import new_event_loop
from .headers import Headers
from .listener import HTTPListener
from .response import FieldsLike, json_bytes
from .server import HTTPServer

if TYPE_CHECKING:
    import httpx

    from .connection import HTTPConnection
    from .fields import Field

__all__ = ["TestClient", "TestResponse", "httpx_transport"]

PIECE = 64 * 1024
"""Bytes of a request that the server is given at once."""


class TestResponse:
    """What came back."""

    __test__ = False  # pytest collects by name

    def __init__(self, status_code: int, fields: list[Field], content: bytes) -> None:
        self.status_code = status_code
        self.headers = Headers(fields)
        self.content = content

    @property
    def text(self) -> str:
        """The body, decoded from UTF-8."""
        return self.content.decode("utf-8")

    def json(self) -> Any:
        """Return the body, decoded from JSON.

        :raises msgspec.DecodeError: it is not JSON
        """
        return msgspec.json.decode(self.content)

    def __repr__(self) -> str:
        return f"TestResponse({self.status_code})"


class _Pipe(asyncio.Transport):
    """The server's end of a connection in memory; it reads the response as it is written."""

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
        """Whether the response is complete, when it is, or when nothing more comes."""
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done when the server knows that the connection has ended."""
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
        """Return when the server reads, or has answered."""
        if not self.may_send.is_set():
            resumed: asyncio.Future[Any] = asyncio.ensure_future(self.may_send.wait())
            await asyncio.wait({resumed, self.answered}, return_when="FIRST_COMPLETED")
            resumed.cancel()

    # --- httptools' calls -----------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field."""
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The answer to HEAD has no content, whatever its headers say."""
        self.status = self.parser.get_status_code()
        if self._is_head and self.status >= 200 and not self.answered.done():
            self.answered.set_result(True)

    def on_body(self, piece: bytes) -> None:
        """Keep a piece."""
        self.content.append(piece)

    def on_message_complete(self) -> None:
        """Take the response for complete, unless it is an interim one (RFC 9110 section 15.2)."""
        if self.status < 200:
            self.fields.clear()
        elif not self.answered.done():
            self.answered.set_result(True)


def failures_of(server: HTTPServer) -> dict[HTTPConnection, BaseException]:
    """Return what the application failed with, by connection; the last of each."""
    keeper = server.on_failure
    if not isinstance(keeper, _Keeper):
        server.on_failure = keeper = _Keeper()
    return keeper.failures


class _Keeper:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.failures: dict[HTTPConnection, BaseException] = {}

    def __call__(self, connection: HTTPConnection, error: BaseException) -> None:
        self.failures[connection] = error


async def exchange(
    server: HTTPServer, method: str, target: str, fields: list[tuple[str, str]], body: bytes, *, raises: bool
) -> TestResponse:
    """Ask a server on a connection of its own.

    :param fields: header fields; Host and Content-Length are added where they are missing
    :param raises: whether an exception that the application did not handle is raised here
    :raises ConnectionError: the connection ended before the response was complete
    """
    fields = _with_borders(method, fields, body)
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
    finally:
        pipe.close()
        await pipe.lost
        failure = failures.pop(connection, None)
    if raises and failure is not None:
        raise failure
    if not complete:
        raise ConnectionError(f"the connection ended before the response to {method} {target} was complete")
    return TestResponse(pipe.status, pipe.fields, b"".join(pipe.content))


def _with_borders(method: str, fields: list[tuple[str, str]], body: bytes) -> list[tuple[str, str]]:
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields = [("host", "testserver"), *fields]
    if not names & {"content-length", "transfer-encoding"} and (body or method in ("POST", "PUT", "PATCH")):
        fields = [*fields, ("content-length", str(len(body)))]
    return fields


class TestClient:
    """Asks an application in process. Not for use where a loop runs: see `httpx_transport`.

    As a context manager it runs the application's startup callbacks, and in the end drains it and runs those for
    shutdown; the loop runs while a request does. Otherwise each request has a loop of its own.

    :param app: whose routes serve the requests; its settings hold
    :param raise_server_exceptions: whether an exception that the application did not handle is raised by the
        call that caused it, in place of the 500; an `HTTPError` never is
    :param headers: sent with each request
    """

    __test__ = False  # pytest collects by name

    def __init__(
        self, app: HTTPListener[Any], *, raise_server_exceptions: bool = True, headers: FieldsLike = ()
    ) -> None:
        self.app = app
        self.headers = _pairs(headers)
        self.raise_server_exceptions = raise_server_exceptions
        self._runner: asyncio.Runner | None = None
        self._server: HTTPServer | None = None
        self._life: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Run the startup callbacks.

        :raises RuntimeError: a loop runs in this thread
        :raises Exception: what one of them raised
        """
        _check_no_loop()
        self._runner = asyncio.Runner(loop_factory=new_event_loop)
        try:
            self._runner.run(self._start())
        except BaseException:
            self._runner.close()
            self._runner = None
            raise
        return self

    async def _start(self) -> None:
        listening = asyncio.Event()

        async def listen() -> None:
            self._server = HTTPServer(self.app, self.app.settings)
            self.app.add_source(self._server)
            listening.set()

        self._life = asyncio.ensure_future(self.app.lifecycle.live(listen, self.app.host))
        listens = asyncio.ensure_future(listening.wait())
        await asyncio.wait({self._life, listens}, return_when="FIRST_COMPLETED")
        listens.cancel()
        if self._life.done():
            self._life.result()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Drain, and run the shutdown callbacks."""
        runner, self._runner = self._runner, None
        if runner is not None:
            try:
                runner.run(self._stop())
            finally:
                runner.close()

    async def _stop(self) -> None:
        await self.app.graceful_shutdown()
        if self._life is not None:
            await self._life
        if self._server is not None:
            self.app.lifecycle.sources.remove(self._server)
        self._life = self._server = None

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        headers: FieldsLike = (),
        cookies: Mapping[str, str] | None = None,
        content: bytes | str = b"",
        json: Any = None,
    ) -> TestResponse:
        """Ask.

        :param url: path and query; characters that no URL has are percent-encoded
        :param params: added to the query
        :param content: the body; a text is sent as UTF-8
        :param json: the body, in place of `content`, sent as JSON
        :raises RuntimeError: a loop runs in this thread
        :raises ConnectionError: the connection ended before the response was complete
        :raises Exception: what the application did not handle, see `raise_server_exceptions`
        """
        target = quote(url, safe=":/?#[]@!$&'()*+,;=%-._~")
        query = urlencode(list(params.items() if isinstance(params, Mapping) else params), doseq=True)
        if query:
            target += ("&" if "?" in target else "?") + query
        fields = _pairs(headers)
        names = {name.lower() for name, _ in fields}
        fields += [field for field in self.headers if field[0].lower() not in names]
        if cookies:
            fields.append(("cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
        body = content.encode() if isinstance(content, str) else content
        if json is not None:
            body = json_bytes(json)
            if "content-type" not in names:
                fields.append(("content-type", "application/json"))
        return self._run(method, target, fields, body)

    def _run(self, method: str, target: str, fields: list[tuple[str, str]], body: bytes) -> TestResponse:
        _check_no_loop()
        raises = self.raise_server_exceptions
        if self._runner is not None and self._server is not None:
            return self._runner.run(exchange(self._server, method, target, fields, body, raises=raises))

        async def alone() -> TestResponse:
            server = HTTPServer(self.app, self.app.settings)
            try:
                return await exchange(server, method, target, fields, body, raises=raises)
            finally:
                server.abort()

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(alone())

    def get(self, url: str, **options: Any) -> TestResponse:
        """Ask by GET; see `request`."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Any) -> TestResponse:
        """Ask by HEAD; see `request`."""
        return self.request("HEAD", url, **options)

    def post(self, url: str, **options: Any) -> TestResponse:
        """Ask by POST; see `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> TestResponse:
        """Ask by PUT; see `request`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> TestResponse:
        """Ask by PATCH; see `request`."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> TestResponse:
        """Ask by DELETE; see `request`."""
        return self.request("DELETE", url, **options)

    def options(self, url: str, **options: Any) -> TestResponse:
        """Ask by OPTIONS; see `request`."""
        return self.request("OPTIONS", url, **options)


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("a loop runs in this thread, and TestClient runs one of its own: use httpx_transport here")


def _pairs(headers: FieldsLike) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def httpx_transport(app: HTTPListener[Any], *, raise_server_exceptions: bool = True) -> httpx.AsyncBaseTransport:
    """Return what lets an `httpx.AsyncClient` ask an application in process, in the loop that runs.

    Startup and shutdown callbacks are not run. It needs httpx.

    :raises RuntimeError: no loop runs
    """
    import httpx  # noqa: PLC0415 - only who asks for it needs it

    server = HTTPServer(app, app.settings)

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
            body = await request.aread()
            if "transfer-encoding" in request.headers:  # the body is sent whole
                fields = [field for field in fields if field[0].lower() != "transfer-encoding"]
            target = request.url.raw_path.decode("ascii")
            response = await exchange(server, request.method, target, fields, body, raises=raise_server_exceptions)
            return httpx.Response(
                response.status_code, headers=response.headers.raw, content=response.content, request=request
            )

        async def aclose(self) -> None:
            server.abort()

    return Transport()
