"""What can be wrong with a request, each with the status that says so to the client."""

from __future__ import annotations

from http import HTTPStatus

from ..errors import ListenerError

__all__ = ["BodyTooLargeError", "ClientDisconnectedError", "ProtocolError"]


class ProtocolError(ListenerError):
    """The client broke the protocol, or a limit; the connection ends with this response.

    :param status: the response's status code
    :param detail: one line for the client: what was wrong, and what would be right
    """

    is_head = False
    """Whether the request is a HEAD: then the response has no content."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status} {HTTPStatus(status).phrase}: {detail}")
        self.status = status
        self.detail = detail


class BodyTooLargeError(ProtocolError):
    """The body is longer than its route allows: 413."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is longer than {limit} bytes")


class ClientDisconnectedError(ListenerError):
    """The client went away before its request was complete."""
