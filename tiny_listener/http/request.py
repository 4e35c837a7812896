"""The request, as handlers see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from ..core.injection.resolvers import Phase, Resolver
from ..core.registration.foreign import INSTEAD, Foreign
from ..errors import EventDataError
from .body.forms import MAX_FIELD_SIZE, MAX_FIELDS, MAX_FILES, Form, read_form
from .errors import BodyConsumedError, HTTPError
from .headers import Headers, MultiDict, ReceivedHeaders, parse_cookies, parse_query
from .target import PORTS, URL, host_and_port, url_path_of
from .trace import TraceContext, read_trace

if TYPE_CHECKING:
    from .body.incoming import IncomingBody
    from .forwarded import Origin
    from .headers import Field
    from .ports import Wire

__all__ = ["Request", "decode_json"]

T = TypeVar("T")


class Request:
    """An HTTP request. Handlers ask for it by annotation.

    `method` and `path` are texts (the path is decoded, and an encoded slash is a slash again), `target` is what was
    sent, `version` is the minor version of HTTP/1 that the client uses, `fields` are the header fields as pairs of
    bytes with names in lower case.
    """

    method: str
    target: str
    version: int
    content: bytes | None
    """The whole body, if it came together with the head or has been read; None if it is still to come."""
    fields: list[Field]
    path = ""
    started = 0.0
    """When the head was read, on the clock of `time.perf_counter`, in seconds."""
    connection: Wire
    """The connection that it arrived on."""
    arriving: IncomingBody | None = None
    """The body, if it did not come together with the head."""
    traced_as: str | None = None
    """The id of the trace in which this server records the request; set by the instrumentation."""
    _headers: Headers | None = None
    _query: MultiDict | None = None
    _cookies: dict[str, str] | None = None
    _origin: Origin | None = None
    _form: Form | None = None
    is_request = True
    """Tells the core that an event with this came from a request."""
    _body_is_kept = False
    """Whether `body()` was called."""
    _is_streamed = False
    """Whether the body has been, or is being, read in pieces."""

    if not TYPE_CHECKING:  # checkers know that there are no such attributes
        # PERF: not a `__getattr__`, with which every attribute of every request would cost more.
        for _name in INSTEAD["attribute of a request"]:
            locals()[_name] = Foreign(_name)
        del _name

    @classmethod
    def from_event(cls, event: Any) -> Request:
        """Return the request of an event.

        :raises EventDataError: the event did not come from an HTTP request
        """
        request = event.data.get("request")
        if not isinstance(request, cls):
            raise EventDataError(f"The event {event.route.path!r} came from no HTTP request, so it has no Request")
        return request

    @classmethod
    def plan_argument(cls, *, is_optional: bool) -> Resolver:
        """Return the resolver of an argument annotated with this class; see `injection.planner`."""
        return _TheRequest(cls, is_optional=is_optional)

    @property
    def query_string(self) -> str:
        """The part of the target after the first question mark, as sent."""
        return self.target.partition("?")[2]

    @property
    def headers(self) -> Headers:
        """The header fields, as a mapping with case-insensitive names; it is read-only."""
        if self._headers is None:
            self._headers = ReceivedHeaders(self.fields)
        return self._headers

    @property
    def query(self) -> MultiDict:
        """The fields of the query, decoded, including blank values; `getlist` returns all values of a name, `[]` the
        first.

        :raises HTTPError: 400, more than `headers.MAX_QUERY_FIELDS`
        """
        if self._query is None:
            self._query = parse_query(self.query_string)
        return self._query

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the client sent (RFC 6265 section 4.2); of several with the same name the first."""
        if self._cookies is None:
            self._cookies = parse_cookies(self.headers.getlist("cookie"))
        return self._cookies

    @property
    def trace(self) -> TraceContext | None:
        """The trace that the client's call belongs to (W3C Trace Context); None without a valid `traceparent`."""
        headers = self.headers
        return read_trace(headers.getlist("traceparent"), headers.getlist("tracestate"))

    @property
    def recorded_trace_id(self) -> str | None:
        """The id of the trace in which this request is recorded, by this server or else by the client; None: it is not
        recorded.
        """
        if self.traced_as is not None:
            return self.traced_as
        trace = self.trace
        return trace.trace_id if trace is not None and trace.sampled else None

    @property
    def scheme(self) -> str:
        """The scheme by which the client reached the server, or the first trusted proxy: `http` or `https`."""
        return self._where_from.scheme

    @property
    def root_path(self) -> str:
        """The prefix of the path that a trusted proxy has removed (X-Forwarded-Prefix), such as `/shop`; "": none."""
        return self._where_from.prefix

    @property
    def url(self) -> URL:
        """The URL by which the client reached the server, or the first trusted proxy; `str(request.url)` is its text.

        The host is that of Host or of an absolute-form target, unless a trusted proxy reports another
        (`HTTPSettings.proxy_headers`). A client may send any: compare it with the names of the server before it goes
        into a link that others get. A request without one (HTTP/1.0) has the address that it was sent to, or
        `localhost` on a unix socket.
        """
        return self._url(self.root_path + url_path_of(self.target), self.query_string)

    @property
    def base_url(self) -> URL:
        """The URL of the application: that of the request with `root_path` and a slash as its path."""
        return self._url(f"{self.root_path}/", "")

    def _url(self, path: str, query: str) -> URL:
        origin = self._where_from
        named = host_and_port(origin.host or self.headers.get("host") or "") or self.connection.server_address
        host, port = named
        return URL(origin.scheme, host, port or origin.port or PORTS[origin.scheme], path, query)

    def is_disconnected(self) -> bool:
        """Whether the client has disconnected, as far as is known: it closed its side, or the connection is lost.

        A client that closed only its own side may still read the response.
        """
        return self.connection.is_disconnected

    async def disconnected(self) -> None:
        """Return when the client has disconnected; see `is_disconnected`."""
        await self.connection.disconnected()

    @property
    def http_version(self) -> str:
        """`1.1` or `1.0`."""
        return f"1.{self.version}"

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the client; None on a unix socket.

        It is the peer, unless that is a trusted proxy (`HTTPSettings.proxy_headers`). Then it is the client that the
        proxy reports, with port 0 if the proxy does not report it.
        """
        return self._where_from.client

    @property
    def _where_from(self) -> Origin:
        if self._origin is None:
            self._origin = self.connection.origin_of(self)
        return self._origin

    def header(self, name: str, default: str | None = None) -> str | None:
        """Return the value of a header, decoded as Latin-1; several with the same name are joined with a comma (RFC
        9110 5.3).
        """
        return self.headers.get(name, default)

    async def stream(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces of the body as they arrive; they are not kept.

        :raises BodyConsumedError: it has been read in pieces already
        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client disconnected first
        """
        self._refuse_second_reading("stream()")
        self._is_streamed = not self._body_is_kept
        if self._body_is_kept or self.content is not None:
            content = self.content if self.content is not None else await self.body()
            if content:
                yield content
        elif self.arriving is not None:
            async for piece in self.arriving.stream():
                yield piece

    async def body(self) -> bytes:
        """Return the whole body. It is kept, for `stream()` too.

        :raises BodyConsumedError: it has been read in pieces already
        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client disconnected first
        """
        self._refuse_second_reading("body()")
        self._body_is_kept = True
        if self.content is None:
            self.content = b"" if self.arriving is None else await self.arriving.read()
        return self.content

    def _refuse_second_reading(self, how: str) -> None:
        # Always, even if the body arrived in one packet.
        if self._is_streamed:
            raise BodyConsumedError(
                f"{how} after the body was read by stream() or as a multipart form, which keep nothing: "
                "call body() first, or read it once"
            )

    async def text(self) -> str:
        """Return the body, decoded as UTF-8.

        :raises HTTPError: 400, it is not UTF-8
        """
        try:
            return (await self.body()).decode("utf-8")
        except UnicodeDecodeError:
            raise HTTPError(400, "the body is not UTF-8") from None

    @overload
    async def json(self) -> Any: ...

    @overload
    async def json(self, type: type[T]) -> T: ...

    async def json(self, type: Any = Any) -> Any:  # noqa: A002
        """Return the body, decoded as JSON regardless of its content type.

        :param type: the expected type: anything that msgspec supports, such as a Struct, a dataclass, or `list[int]`
        :raises HTTPError: 400, it is not JSON; 422, it does not match the type
        """
        return decode_json(partial(msgspec.json.decode, type=type), await self.body())

    async def form(
        self, *, max_fields: int = MAX_FIELDS, max_files: int = MAX_FILES, max_field_size: int = MAX_FIELD_SIZE
    ) -> Form:
        """Return the body as a form: urlencoded, or multipart/form-data (RFC 7578). It is read once.

        The values are texts, and for files `Upload`s; `with await request.form() as form:` closes these at the end.

        :param max_fields: maximum number of fields that are not files
        :param max_field_size: maximum bytes of the decoded value of a field that is not a file, and of a field name of
            an urlencoded form; the body has its own limit
        :raises HTTPError: 400, it is malformed; 413, it exceeds a limit; 415, it has another content type
        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client disconnected first
        """
        if self._form is None:
            self._form = await read_form(
                self, max_fields=max_fields, max_files=max_files, max_field_size=max_field_size
            )
        return self._form

    @property
    def is_complete(self) -> bool:
        """Whether the whole body has arrived."""
        return self.arriving is None or self.arriving.is_complete

    def __repr__(self) -> str:
        return f"Request({self.method} {self.target!r})"


class _TheRequest(Resolver):
    """The request of an event; None for another event if the argument is optional."""

    __slots__ = ("_is_optional", "_kind")
    phase = Phase.PATH

    def __init__(self, kind: type[Request], *, is_optional: bool) -> None:
        self._kind = kind
        self._is_optional = is_optional

    @property
    def of_requests(self) -> bool:
        """See `Resolver`."""
        return not self._is_optional

    def __call__(self, event: Any) -> Any:
        """See `Resolver`.

        :raises EventDataError: the event came from no request, and the argument is not optional
        """
        if self._is_optional and not isinstance(event.data.get("request"), self._kind):
            return None
        return self._kind.from_event(event)


def decode_json(decode: Callable[[bytes], Any], data: bytes) -> Any:
    """Decode the body of a request.

    :raises HTTPError: 400, it is not JSON; 422, it does not match the type that `decode` expects; the text says where
    """
    try:
        return decode(data)
    except msgspec.ValidationError as exc:
        raise HTTPError(422, f"the body does not fit: {' '.join(str(exc).split())}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise HTTPError(400, f"the body is not JSON: {exc}") from None
    except RecursionError:
        raise HTTPError(400, "the body is nested too deeply") from None
