"""The clients: `TestClient`, and a transport for httpx."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ...net.loop import new_event_loop
from ..h1.server import HTTPServer
from ..listener import HTTPListener
from ..response import FieldsLike
from .bodies import FileLike, Pairs, body_of
from .cookies import Cookies
from .events import carried_in_memory, handled, publishing
from .in_memory import HOST, InMemory, TestResponse, exchange, host_and_path

if TYPE_CHECKING:
    import httpx

__all__ = ["TestClient", "TestResponse", "httpx_transport"]

QUOTED = ":/?#[]@!$&'()*+,;=%-._~"
"""Characters of a URL that are sent as they are (RFC 3986), apart from letters and digits."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 20
"""As browsers: https://fetch.spec.whatwg.org/#http-redirect-fetch"""


class TestClient:
    """Sends requests to an application in process. Do not use it where an event loop runs: see `httpx_transport`.

    As a context manager it runs the application's startup callbacks, and at the end drains it and runs the shutdown
    callbacks; the loop runs only during requests. Otherwise each request has its own loop.

    What the application publishes is kept in memory, and handled before a call returns, unless that takes longer than a
    second. Delayed events and retries wait in real time, while the loop runs: see `tiny_listener.testing.EventClient`.

    :param app: the application that serves the requests, with its settings
    :param raise_server_exceptions: whether a call raises an exception that the application did not handle, instead of
        returning the 500; an `HTTPError` is never raised
    :param headers: sent with each request
    :param follow_redirects: whether calls follow redirects within the application
    """

    __test__ = False  # pytest collects by name

    def __init__(
        self,
        app: HTTPListener[Any],
        *,
        raise_server_exceptions: bool = True,
        headers: FieldsLike = (),
        follow_redirects: bool = False,
    ) -> None:
        self.app = app
        self.cookies = Cookies()
        """What the responses have set; sent with each request that it is for."""
        self.follow_redirects = follow_redirects
        self.headers = _pairs(headers)
        self.raise_server_exceptions = raise_server_exceptions
        self._runner: asyncio.Runner | None = None
        self._server: HTTPServer | None = None
        self._life: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Run the startup callbacks.

        :raises RuntimeError: an event loop is running in this thread
        :raises Exception: raised by a callback
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
            await self.app.open_source(in_memory)
            self._server = in_memory.server
            listening.set()

        async def live() -> None:
            with carried_in_memory(self.app):
                await self.app.live(listen)

        in_memory = InMemory(self.app.settings)
        self._life = asyncio.ensure_future(live())
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
        data: Pairs | None = None,
        files: Mapping[str, FileLike] | Iterable[tuple[str, FileLike]] | None = None,
        follow_redirects: bool | None = None,
    ) -> TestResponse:
        """Send a request.

        :param url: path and query; characters that URLs do not allow are percent-encoded
        :param params: added to the query
        :param cookies: sent in addition to those of the client, and not kept
        :param content: the body; a text is sent as UTF-8
        :param json: the body, sent as JSON
        :param data: the fields of a form, the body; a list as a value is several fields of one name
        :param files: the files of a form, by name: content, `(filename, content)` or `(filename, content, type)`
        :param follow_redirects: overrides that of the client
        :raises ValueError: there are two bodies, or a redirect leads to another origin, or there are too many
        :raises RuntimeError: an event loop is running in this thread
        :raises ConnectionError: the connection ended before the response was complete
        :raises Exception: not handled by the application, see `raise_server_exceptions`
        """
        target = quote(url, safe=QUOTED)
        query = urlencode(list(params.items() if isinstance(params, Mapping) else params), doseq=True)
        if query:
            target += ("&" if "?" in target else "?") + query
        fields = _pairs(headers)
        names = {name.lower() for name, _ in fields}
        fields += [field for field in self.headers if field[0].lower() not in names]
        body, content_type = body_of(content, json, data, files)
        if content_type is not None and "content-type" not in {name.lower() for name, _ in fields}:
            fields.append(("content-type", content_type))
        follows = self.follow_redirects if follow_redirects is None else follow_redirects
        history: list[TestResponse] = []
        while True:
            response = self._send(method, target, fields, body, cookies or {})
            response.history = history.copy()
            location = response.headers.get("location")
            if not follows or location is None or response.status_code not in REDIRECTS:
                return response
            history.append(response)
            if len(history) > MAX_REDIRECTS:
                raise ValueError(f"{url} was redirected more than {MAX_REDIRECTS} times, at last to {location}")
            target = _redirected(response.url, location)
            if response.status_code < 307 and method != "HEAD":
                method, body = "GET", b""
                fields = [field for field in fields if not field[0].lower().startswith("content-")]

    def _send(
        self, method: str, target: str, fields: list[tuple[str, str]], body: bytes, cookies: Mapping[str, str]
    ) -> TestResponse:
        """Send a request with the cookies that are for it, and keep those that its response sets."""
        scheme = "http" if self.app.settings.ssl_certfile is None else "https"
        host = next((value for name, value in fields if name.lower() == "host"), HOST)
        url = target if "://" in target.partition("?")[0] else f"{scheme}://{host}{target}"
        place = host_and_path(url)
        pairs = {**self.cookies.sent_to(*place), **cookies}
        if pairs:
            fields = [*fields, ("cookie", "; ".join(f"{name}={value}" for name, value in pairs.items()))]
        response = self._run(method, target, fields, body)
        response.url = url
        self.cookies.keep(response.headers.getlist("set-cookie"), *place)
        return response

    def _run(self, method: str, target: str, fields: list[tuple[str, str]], body: bytes) -> TestResponse:
        _check_no_loop()
        raises = self.raise_server_exceptions
        if self._runner is not None and self._server is not None:
            return self._runner.run(self._exchange(self._server, method, target, fields, body, raises=raises))

        async def alone() -> TestResponse:
            async with publishing(self.app):
                server = HTTPServer(self.app, self.app.settings)
                try:
                    return await self._exchange(server, method, target, fields, body, raises=raises)
                finally:
                    server.abort()

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(alone())

    async def _exchange(self, *args: Any, raises: bool) -> TestResponse:
        try:
            return await exchange(*args, raises=raises)
        finally:
            await handled(self.app)

    def get(self, url: str, **options: Any) -> TestResponse:
        """Send a GET request; see `request`."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Any) -> TestResponse:
        """Send a HEAD request; see `request`."""
        return self.request("HEAD", url, **options)

    def post(self, url: str, **options: Any) -> TestResponse:
        """Send a POST request; see `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> TestResponse:
        """Send a PUT request; see `request`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> TestResponse:
        """Send a PATCH request; see `request`."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> TestResponse:
        """Send a DELETE request; see `request`."""
        return self.request("DELETE", url, **options)

    def options(self, url: str, **options: Any) -> TestResponse:
        """Send an OPTIONS request; see `request`."""
        return self.request("OPTIONS", url, **options)


def _redirected(url: str, location: str) -> str:
    """Return the target of a redirect.

    :raises ValueError: it is of another origin
    """
    old, new = urlsplit(url), urlsplit(urljoin(url, location))
    if (new.scheme, new.netloc.lower()) != (old.scheme, old.netloc.lower()):
        raise ValueError(
            f"{url} redirects to {location}, which is of another origin: a TestClient reaches only its application; "
            "call with follow_redirects=False, and look at the headers"
        )
    target = quote(new.path or "/", safe=QUOTED)
    return f"{target}?{quote(new.query, safe=QUOTED)}" if new.query else target


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("a loop is running in this thread, and TestClient runs its own: use httpx_transport instead")


def _pairs(headers: FieldsLike) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def httpx_transport(app: HTTPListener[Any], *, raise_server_exceptions: bool = True) -> httpx.AsyncBaseTransport:
    """Return a transport with which an `httpx.AsyncClient` sends requests to an application in process, in the running
    loop.

    It does not run startup and shutdown callbacks. What the application publishes is kept in memory until the transport
    is closed. It needs httpx.

    :raises RuntimeError: no loop is running
    """
    import httpx  # noqa: PLC0415 - an optional dependency

    server = HTTPServer(app, app.settings)

    class Transport(httpx.AsyncBaseTransport):
        def __init__(self) -> None:
            self._publishing = contextlib.AsyncExitStack()
            self._opening: asyncio.Future[None] | None = None

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if self._opening is None:
                self._opening = asyncio.ensure_future(self._publishing.enter_async_context(publishing(app)))
            await asyncio.shield(self._opening)
            try:
                return await self._respond(request)
            finally:
                await handled(app)

        async def _respond(self, request: httpx.Request) -> httpx.Response:
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
            await self._publishing.aclose()

    return Transport()
