"""Errors in requests, each with the status of its response."""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

from ..errors import ListenerError
from .headers import FieldsLike, Headers
from .response import Response

__all__ = ["BodyConsumedError", "BodyTooLargeError", "ClientDisconnectedError", "HTTPError", "ProtocolError"]


class HTTPError(ListenerError):
    """A response that a handler, a hook or a dependency raises. The connection stays open.

    `@app.on_error(HTTPError)` sees it first, like any exception. If no error handler returns anything, this is the
    response. From status 500 on it is logged as a failure.

    :param status: 400 to 599
    :param detail: one line for the client, sent as plain text; by default the reason phrase of the status
    :param headers: further header fields
    :raises ValueError: another status, or a header that HTTP does not allow
    """

    is_answer: ClassVar[bool] = True
    """Tells the core that an error handler which raises this answers the event."""

    def __init__(self, status: int, detail: str = "", headers: FieldsLike = ()) -> None:
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ValueError(f"the status of an error must be from 400 to 599, not {status!r}")
        if not isinstance(detail, str):
            raise TypeError(
                f"the detail of an HTTPError is one line of text, not {type(detail).__name__}: for JSON raise your own "
                "exception, and return Response({...}, status) from its @app.on_error"
            )
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
        super().__init__(f"{status} {phrase}: {detail}" if detail else f"{status} {phrase}".rstrip())
        self.status = int(status)
        self.detail = detail or phrase
        self.headers = Headers(headers)
        """The further header fields; they may be changed."""
        self.response()  # report what cannot be sent here, where it was written

    @property
    def is_rejection(self) -> bool:
        """Below 500; see `ListenerError`."""
        return _is_client_error(self)

    def response(self) -> Response:
        """Return it as a response."""
        body = f"{self.detail}\n" if self.detail else ""
        return Response(body, self.status, self.headers)


class ProtocolError(ListenerError):
    """The client violated the protocol or exceeded a limit. The connection ends with this response.

    :param status: status code of the response
    :param detail: one line for the client: what was wrong, and what would be right
    """

    is_head = False
    """Whether the request is a HEAD: then the response has no content."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status} {HTTPStatus(status).phrase}: {detail}")
        self.status = status
        self.detail = detail

    @property
    def is_rejection(self) -> bool:
        """Below 500; see `ListenerError`."""
        return _is_client_error(self)


class BodyTooLargeError(ProtocolError):
    """The body is longer than its route allows: 413."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is longer than {limit} bytes")


class ClientDisconnectedError(ListenerError):
    """The client disconnected before its request was complete."""

    @property
    def is_rejection(self) -> bool:
        """See `ListenerError`: it is answered with 400."""
        return True


def _is_client_error(error: HTTPError | ProtocolError) -> bool:
    status = getattr(error, "status", None)  # an application's subclass may not have set it, or may have changed it
    return isinstance(status, int) and status < 500


class BodyConsumedError(ListenerError):
    """The handler asks for a body that it has already read in pieces, with `stream()` or as a multipart form."""
