"""From the head of a request to the event it stands for, or to the reason why there is none."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..event import Event
from .errors import ProtocolError
from .response import Response
from .target import SLASH, authority_of, path_of, unmask

if TYPE_CHECKING:
    from ..listener import Listener
    from .request import Request

__all__ = ["METHODS", "Refusal", "find_event"]

new = object.__new__
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Refusal:
    """A response that no handler makes.

    :param status: its status code
    :param detail: one line for the client
    :param allow: the methods that would have been right
    :param close: whether the connection ends with it
    """

    __slots__ = ("allow", "close", "detail", "status")

    def __init__(self, status: int, detail: str = "", allow: str | None = None, *, close: bool = False) -> None:
        self.status = status
        self.detail = detail
        self.allow = allow
        self.close = close

    def response(self) -> Response:
        """Return the response."""
        headers = [] if self.allow is None else [("allow", self.allow)]
        if self.status == 503:
            headers.append(("retry-after", "1"))
        return Response(f"{self.detail}\n" if self.detail else "", self.status, headers)


def find_event(listener: Listener[Any], request: Request) -> Event[Any] | Refusal:
    """Return the event that a request stands for."""
    method = request.method
    path = request.target
    is_encoded = "%" in path
    if is_encoded or "?" in path or "#" in path or path[0] != "/":  # PERF: most have none of it
        try:
            path = path_of(method, path)
        except ProtocolError as exc:
            return Refusal(exc.status, exc.detail, close=True)
        authority = authority_of(request.target)
        if authority is not None:
            # RFC 9112 section 3.2.2: it is the one that is asked for, whatever Host says.
            host = [(b"host", authority.encode("ascii"))]
            request.headers = host + [field for field in request.headers if field[0] != b"host"]
    found = listener.router.match(f"{method}:{path}")
    if found is None and method == "HEAD":
        found = listener.router.match(f"GET:{path}")
    if found is None:
        return _refuse(method, path, listener)
    route, params = found
    if is_encoded and SLASH in path:
        path = path.replace(SLASH, "/")
        params = unmask(params)
    request.path = path
    # PERF: the same as Event(None, route, {"request": request}, params, listener), at a third of the cost.
    event: Event[Any] = new(Event)
    event.route = route
    event.data = {"request": request}
    event.params = params
    event.listener = listener
    event.result = None
    event.error = None
    event.outcome = "ok"
    event._ctx = None  # noqa: SLF001
    event.is_done = False
    event.auto_done = True
    event.waiters = None
    return event


def _refuse(method: str, path: str, listener: Listener[Any]) -> Refusal:
    allowed = [m for m in METHODS if path == "*" or listener.router.match(f"{m}:{path}") is not None]
    if "GET" in allowed and "HEAD" not in allowed:
        allowed.append("HEAD")
    if not allowed:
        listener.host.observer.not_found()
        return Refusal(404, "Page Not Found")
    if "OPTIONS" not in allowed:
        allowed.append("OPTIONS")
    allow = ", ".join(allowed)
    if method == "OPTIONS":
        return Refusal(204, allow=allow)
    if method not in METHODS:
        return Refusal(501, HTTPStatus(501).phrase, allow)
    return Refusal(405, f"{method} is not allowed here; {allow} are", allow)
