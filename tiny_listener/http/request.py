"""The request, as handlers see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from ..errors import EventDataError
from .body.forms import MAX_FIELD_SIZE, MAX_FIELDS, MAX_FILES, Form, read_form
from .errors import BodyConsumedError, HTTPError
from .headers import Headers, MultiDict, parse_cookies, parse_query
from .trace import TraceContext, read_trace

if TYPE_CHECKING:
    from .body.incoming import Body
    from .forwarded import Origin
    from .headers import Field
    from .ports import Wire

__all__ = ["Request", "decode_json"]

T = TypeVar("T")


class Request:
    """One HTTP request; ask for it by annotation.

    `method` and `path` are texts (the path decoded, an encoded slash again a slash), `target` is what was
    sent, `version` the minor version of HTTP/1 that the client speaks, `fields` are the header fields as pairs of
    bytes with names in lower case.
    """

    method: str
    target: str
    version: int
    content: bytes | None
    """The whole body, when it came together with the head, or was read; None when it is to come."""
    fields: list[Field]
    path = ""
    started = 0.0
    """When the head was read, on the clock of `time.perf_counter`, in seconds."""
    connection: Wire
    """The connection that it came on."""
    arriving: Body | None = None
    """The body, when it did not come together with the head."""
    traced_as: str | None = None
    """The id of the trace in which this server records the request, set by whatever does."""
    _headers: Headers | None = None
    _query: MultiDict | None = None
    _cookies: dict[str, str] | None = None
    _origin: Origin | None = None
    _form: Form | None = None
    _body_is_kept = False
    """Whether `body()` was called."""
    _is_streamed = False
    """Whether the body was read in pieces, or is being read so."""

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
    def headers(self) -> Headers:
        """The header fields, as a mapping in which the case of names does not matter."""
        if self._headers is None:
            self._headers = Headers(self.fields)
        return self._headers

    @property
    def query(self) -> MultiDict:
        """The fields of the query, decoded, blank values kept; `getlist` gives all values of a name, `[]` the first.

        :raises HTTPError: 400, more than `headers.MAX_QUERY_FIELDS`
        """
        if self._query is None:
            self._query = parse_query(self.query_string)
        return self._query

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the client sent (RFC 6265 section 4.2); of several of one name the first."""
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
        """The id of the trace in which somebody records this request: this server, or else the client; or None."""
        if self.traced_as is not None:
            return self.traced_as
        trace = self.trace
        return trace.trace_id if trace is not None and trace.sampled else None

    @property
    def scheme(self) -> str:
        """How the client reached the server, or the first proxy that is trusted: `http` or `https`."""
        return self._where_from.scheme

    def is_disconnected(self) -> bool:
        """Whether the client has gone away, as far as is known: it closed its side, or the connection is lost.

        A client that closed its own side only may still read the response.
        """
        return self.connection.is_disconnected

    async def disconnected(self) -> None:
        """Return when the client has gone away; see `is_disconnected`."""
        await self.connection.disconnected()

    @property
    def http_version(self) -> str:
        """`1.1` or `1.0`."""
        return f"1.{self.version}"

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the client; None on a unix socket.

        Of the peer, unless that is a proxy whose word is taken (`HTTPSettings.proxy_headers`): then of him for whom it
        speaks, with port 0 where it does not say it.
        """
        return self._where_from.client

    @property
    def _where_from(self) -> Origin:
        if self._origin is None:
            self._origin = self.connection.origin_of(self)
        return self._origin

    def header(self, name: str, default: str | None = None) -> str | None:
        """Return a header's value, decoded as Latin-1; several of one name are joined with a comma (RFC 9110 5.3)."""
        return self.headers.get(name, default)

    async def stream(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces of the body as they arrive; what was read is not kept.

        :raises BodyConsumedError: it was read in pieces before
        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client went away first
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
        """Return the whole body; it is kept, for `stream()` too.

        :raises BodyConsumedError: it was read in pieces before
        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client went away first
        """
        self._refuse_second_reading("body()")
        self._body_is_kept = True
        if self.content is None:
            self.content = b"" if self.arriving is None else await self.arriving.read()
        return self.content

    def _refuse_second_reading(self, how: str) -> None:
        # Always, and not only when the body came in several packets.
        if self._is_streamed:
            raise BodyConsumedError(
                f"{how} after the body was read by stream() or as a multipart form, which keep nothing: "
                "call body() first, or read it once"
            )

    async def text(self) -> str:
        """Return the body, decoded from UTF-8.

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
        """Return the body, decoded from JSON; whatever its content type.

        :param type: what it is to be: anything that msgspec knows, such as a Struct, a dataclass, or `list[int]`
        :raises HTTPError: 400, it is not JSON; 422, it does not fit the type
        """
        return decode_json(partial(msgspec.json.decode, type=type), await self.body())

    async def form(
        self, *, max_fields: int = MAX_FIELDS, max_files: int = MAX_FILES, max_field_size: int = MAX_FIELD_SIZE
    ) -> Form:
        """Return the form that the body is: urlencoded, or multipart/form-data (RFC 7578). It is read once.

        The values are texts, and for files `Upload`s; `with await request.form() as form:` closes these in the end.

        :param max_fields: that are no files
        :param max_field_size: bytes that the value of a field has at most, decoded, unless it is a file, and that the
            name of a field of an urlencoded form has; the body has its own limit
        :raises HTTPError: 400, it is malformed; 413, it breaks a limit; 415, it is said to be something else
        :raises BodyTooLargeError: it is longer than the route allows
        :raises ClientDisconnectedError: the client went away first
        """
        if self._form is None:
            self._form = await read_form(
                self, max_fields=max_fields, max_files=max_files, max_field_size=max_field_size
            )
        return self._form

    @property
    def is_complete(self) -> bool:
        """Whether the whole of the body has arrived."""
        return self.arriving is None or self.arriving.is_complete

    def __repr__(self) -> str:
        return f"Request({self.method} {self.target!r})"


def decode_json(decode: Callable[[bytes], Any], data: bytes) -> Any:
    """Return what `decode` makes of the body of a request.

    :raises HTTPError: 400, it is not JSON; 422, it does not fit the type that `decode` knows; the text says where
    """
    try:
        return decode(data)
    except msgspec.ValidationError as exc:
        raise HTTPError(422, f"the body does not fit: {' '.join(str(exc).split())}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise HTTPError(400, f"the body is not JSON: {exc}") from None
    except RecursionError:
        raise HTTPError(400, "the body is nested too deeply") from None
