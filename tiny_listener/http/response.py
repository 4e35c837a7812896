"""The response: what the value of a handler becomes, and its bytes on the wire."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import AsyncIterator, Iterable
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import quote

import msgspec

from .cookies import SameSite, set_cookie_value
from .headers import CONTENT_TYPE, FIELD_VALUE, FRAMING, Field, FieldsLike, Headers, field_of, text_pairs

if TYPE_CHECKING:
    from .request import Request

__all__ = [
    "BYTES",
    "FRAMING",
    "OK_TEXT",
    "TEXT",
    "DeferredResponse",
    "FieldsLike",
    "Response",
    "as_body",
    "as_response",
    "json_bytes",
    "piece_bytes",
    "redirect",
]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
URL_CHARACTERS = ":/?#[]@!$&'()*+,;=%-._~"
"""RFC 3986 section 2: characters that need no encoding, in addition to letters and digits; a percent sign is treated as
an escape."""
NO_CONTENT = frozenset({204, 304})
NO_BODY = "; for a response without a body write Response(status=204)"

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"
BYTES = b"application/octet-stream"
OK_TEXT, OK_JSON, OK_BYTES = (200, TEXT), (200, JSON), (200, BYTES)


class Response:
    """An HTTP response.

    :param body: bytes, a text (sent as UTF-8), a value that JSON can encode, or an async iterator of bytes or texts
        (sent in chunks as they come)
    :param status: 200 to 599
    :param headers: further header fields; a Content-Type among them replaces the default
    :param content_type: of the body; by default plain text for a text and an iterator, octets for bytes, and JSON
    :raises TypeError: a body of another type
    :raises ValueError: a header name or value, or a status, that HTTP does not allow, or a header that the server
        writes itself
    """

    __slots__ = ("_headers", "body", "fields", "status")
    is_answer: ClassVar[bool] = True
    """Tells the core that a hook which returns this answers the event."""

    fields: list[Field]
    """The header fields, with the Content-Type, as bytes: what `headers` is a view of."""

    def __init__(
        self,
        body: Any = b"",
        status: int = 200,
        headers: FieldsLike = (),
        content_type: str | None = None,
    ) -> None:
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"the status of a response must be from 200 to 599, not {status!r}")
        self.status = int(status)
        kind = TEXT
        self.body: bytes | AsyncIterator[bytes | str]
        if (usual := as_body(body)) is not None:
            (_, kind), self.body = usual
        elif isinstance(body, AsyncIterator):
            self.body = body
        else:
            raise TypeError(
                "the body of a response must be bytes, str, a value that JSON can encode, or an async iterator of "
                f"bytes or str, not {type(body).__name__}" + NO_BODY * (body is None)
            )
        self._headers: Headers | None = None
        field = (CONTENT_TYPE, kind) if content_type is None else field_of("content-type", content_type)
        if status == 205:
            self.body = b""  # RFC 9110 section 15.3.6
        self.fields = [field]
        if headers:
            self._take(text_pairs(headers))

    def _take(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add the application's fields; a Content-Type replaces the default."""
        kind, fields = None, self.fields
        for name, value in pairs:
            field = field_of(name, value)
            # PERF: the length alone tells nearly all names apart.
            if len(name) == len(CONTENT_TYPE) and field[0].lower() == CONTENT_TYPE:
                if kind is not None:
                    raise ValueError("a response has only one Content-Type")
                kind = fields[0] = (CONTENT_TYPE, field[1])
            else:
                fields.append(field)

    @property
    def headers(self) -> Headers:
        """The header fields, with the Content-Type: a mutable mapping with case-insensitive names. A field that is
        assigned replaces the server's own; see `Headers`.
        """
        if self._headers is None:  # PERF: most responses are never looked at
            self._headers = Headers.over(self.fields)
        return self._headers

    @headers.setter
    def headers(self, fields: FieldsLike | Iterable[Field]) -> None:
        if fields is self._headers:  # response.headers += ...
            return
        taken = Headers(fields)
        if "content-type" not in taken and (kind := self.content_type):
            taken.raw.insert(0, (CONTENT_TYPE, kind))
        self.fields, self._headers = taken.raw, taken

    @property
    def content_type(self) -> bytes:
        """The value of the Content-Type, as bytes; empty without one. A text or bytes may be assigned."""
        return next((value for name, value in self.fields if name.lower() == CONTENT_TYPE), b"")

    @content_type.setter
    def content_type(self, value: bytes | str) -> None:
        self.headers["content-type"] = value.decode("latin-1") if isinstance(value, bytes) else value

    @classmethod
    def of(cls, content_type: bytes, body: bytes) -> Response:
        """Return a 200 with only a body; see `as_body`."""
        response = cls(body)
        response.fields[0] = (CONTENT_TYPE, content_type)
        return response

    def copy(self) -> Self:
        """Return a copy with the same body and with fields of its own."""
        if type(self) is Response:  # PERF: a fifth of the general way
            other: Self = object.__new__(type(self))
            other.status, other.body = self.status, self.body
        else:
            other = copy(self)
        other.fields, other._headers = list(self.fields), None  # noqa: SLF001
        return other

    def set_cookie(
        self,
        name: str,
        value: str = "",
        *,
        max_age: int | None = None,
        expires: datetime | float | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
    ) -> None:
        """Add a Set-Cookie header (RFC 6265 section 4.1); each call adds one.

        :param value: printable ASCII without spaces, quotes, commas, semicolons and backslashes
        :param max_age: seconds that the client keeps it; without it and `expires`, until the client exits
        :param expires: when the client drops it: a datetime with a time zone, or seconds since 1970
        :param path: paths that it is sent for; None: those next to the request's path
        :param domain: also send it to subdomains of this host; None: only to the host of the request
        :param secure: only over TLS
        :param httponly: hidden from scripts
        :param samesite: `strict`, `lax` or `none`: whether requests from other sites include it; None: not specified
        :raises ValueError: RFC 6265 does not allow it, or clients would not keep it
        """
        text = set_cookie_value(
            name,
            value,
            max_age=max_age,
            expires=expires,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
        )
        self.fields.append((b"set-cookie", text.encode("ascii")))

    def delete_cookie(
        self,
        name: str,
        *,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
    ) -> None:
        """Make the client drop a cookie; path and domain must be those that it was set with.

        :raises ValueError: as `set_cookie`
        """
        self.set_cookie(
            name,
            max_age=0,
            expires=0,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
        )

    def __repr__(self) -> str:
        return f"Response(status={self.status}, content_type={self.content_type.decode()!r})"


class DeferredResponse(Response):
    """A response that is made when the request is known, and that may await what it needs."""

    __slots__ = ()

    async def prepare(self, request: Request) -> Response:
        """Return the response to a request. A body with a `length`, in bytes, is sent with a Content-Length.

        :raises HTTPError: this is the response instead
        """
        raise NotImplementedError


def redirect(url: str, status: int = 307, headers: FieldsLike = ()) -> Response:
    """Return a response that redirects the client (RFC 9110 section 15.4).

    :param url: absolute, or relative to the URL of the request; characters that URLs do not allow are percent-encoded
    :param status: 301, 302, 303, 307 or 308; 307 and 308 keep method and body
    :raises ValueError: another status, or a control character in the URL
    """
    if status not in REDIRECTS:
        raise ValueError(f"the status of a redirect must be 301, 302, 303, 307 or 308, not {status!r}")
    if FIELD_VALUE.match(url) is None:
        raise ValueError(f"a URL must not have control characters: {url!r}")
    response = Response("", status, headers)
    response.fields.append((b"location", quote(url, safe=URL_CHARACTERS).encode("ascii")))
    return response


def _plain_value(value: Any) -> Any:
    """Return what JSON can encode for a value that msgspec does not know: a model of pydantic within others."""
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        raise TypeError(f"JSON has no {type(value).__name__}")
    return dump(mode="json")


json_bytes = msgspec.json.Encoder(enc_hook=_plain_value).encode


def as_body(value: Any) -> tuple[tuple[int, bytes], bytes] | None:
    """Return the arguments of `plain_bytes` for a handler's value that is just a body, or None.

    Texts and bytes are bodies; dicts, lists, dataclasses, msgspec Structs, numbers and booleans are JSON.
    """
    if isinstance(value, str):
        return OK_TEXT, str.encode(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return OK_BYTES, exact(value)
    if isinstance(value, (dict, list, tuple, int, float, msgspec.Struct)) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    ):
        if isinstance(value, tuple):
            _refuse_status(value)
        return OK_JSON, json_bytes(value)
    if hasattr(value, "model_dump_json") and not isinstance(value, type):
        return OK_JSON, value.model_dump_json().encode()
    return None


def _refuse_status(value: tuple[Any, ...]) -> None:
    """Refuse a body and its status in a tuple, as Flask takes them: here a tuple is JSON.

    :raises TypeError: it is one
    """
    if (
        len(value) in (2, 3)
        and type(value[1]) is int
        and 100 <= value[1] <= 599
        and not isinstance(value[0], (int, float))
    ):
        raise TypeError(
            f"a handler returned a tuple with the status {value[1]}: return Response(body, {value[1]}), "
            "or a list if this is JSON"
        )


def exact(data: bytes | bytearray | memoryview[Any]) -> bytes:
    """Return the actual bytes, whatever length a subclass claims: the length frames the response."""
    return data if type(data) is bytes else b"".join((data,))


def as_response(value: Any) -> Response:
    """Return the response for a handler's value.

    None is 204; an async iterator is streamed; a CloudEvent is as `CloudEventResponse` says; for others see `as_body`.

    :raises TypeError: another type
    """
    if isinstance(value, Response):
        return value
    if value is None:
        return Response(status=204)
    if isinstance(value, AsyncIterator):
        return Response(value)
    pair = as_body(value)
    if pair is not None:
        (_, content_type), body = pair
        return Response.of(content_type, body)
    if (made := _of_cloudevent(value)) is not None:
        return made
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(
            f"a handler returned the coroutine {value.__name__}(): write `return await {value.__name__}(...)`"
        )
    raise TypeError(
        f"a handler returned {type(value).__name__}, which is not a response: return str, bytes, dict, list, "
        "a dataclass, None, a Response, a CloudEvent or an async iterator"
    )


def _of_cloudevent(value: Any) -> Response | None:
    from ..cloudevents import CloudEvent  # noqa: PLC0415 - only applications that return one need it

    if not isinstance(value, CloudEvent):
        return None
    from .cloudevents import CloudEventResponse  # noqa: PLC0415 - stands on this module

    return CloudEventResponse(value)


def piece_bytes(piece: Any) -> bytes:
    """Return the bytes of a piece of a stream.

    :raises TypeError: it is neither bytes nor a text
    :raises UnicodeEncodeError: a text that UTF-8 cannot encode
    """
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return exact(piece)
    if isinstance(piece, str):
        return str.encode(piece)
    raise TypeError(f"a stream must yield bytes or str, not {type(piece).__name__}: encode it, perhaps as JSON")
