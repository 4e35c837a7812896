"""Maps the head of a request to its event, or to a refusal."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, final

from ..core.event import Event
from .errors import ProtocolError
from .response import Response
from .syntax import METHODS, REGISTERED_METHODS
from .target import SLASH, authority_of, path_of, unmask

if TYPE_CHECKING:
    from ..core.listener import Listener
    from ..core.registration import Route
    from ..router import Router
    from .request import Request

__all__ = ["NOT_FOUND", "Refusal", "Routing", "is_http", "is_request_pattern"]

new = object.__new__


@final
class Refusal:
    """A response without a handler.

    :param status: its status code
    :param detail: one line for the client
    :param allow: the allowed methods
    :param close: whether to close the connection after it
    """

    __slots__ = ("allow", "body", "close", "status")

    route: None = None
    """Distinguishes it from an event."""

    def __init__(self, status: int, detail: str = "", allow: str | None = None, *, close: bool = False) -> None:
        self.status = status
        self.body = f"{detail}\n".encode() if detail else b""
        self.allow = allow
        self.close = close

    def response(self) -> Response:
        """Return the response."""
        headers = [] if self.allow is None else [("allow", self.allow)]
        if self.status == 503:
            headers.append(("retry-after", "1"))
        return Response(self.body, self.status, headers, content_type="text/plain; charset=utf-8")


NOT_FOUND = Refusal(404, "Page Not Found")
"""The response to a path without a route. The caller that sends it must count it."""


def is_http(route: Route) -> bool:
    """Whether HTTP requests may match a route: it has a registered method (`GET:/user/{name}`), or `HTTPListener.route`
    created it. Without this check a client could trigger the event of another source by its method and path.

    An HTTP route begins with literal text, and the router tries literal text before parameters. So if the router finds
    another route, no HTTP route matches.
    """
    if not route.is_http:  # registered before HTTP was imported
        route.is_http = is_request_pattern(route.path)
    return route.is_http


def is_request_pattern(path: str) -> bool:
    """Whether a pattern begins with a registered method and a path."""
    method, _, rest = path.partition(":")
    return method in REGISTERED_METHODS and rest.startswith("/")


@final
class Routing:
    """Finds the events for the requests of a listener.

    :param listener: its routes serve the requests
    """

    def __init__(self, listener: Listener[Any]) -> None:
        self._listener = listener
        self._match = listener.router.match
        self._methods = _Methods(listener.router)

    def _refuse(self, method: str, path: str) -> Refusal:
        allowed = self._methods.allowed(path, method)
        if not allowed and path != "*":  # PERF: the common case, mostly from scanners
            return NOT_FOUND
        return _refuse(method, path, allowed)

    def find_event(self, request: Request) -> Event[Any] | Refusal:
        """Return the event for a request, or a refusal. Sets the request's path.

        :raises Exception: raised by an application's convertor
        """
        match = self._match
        method = request.method
        path = request.target
        is_encoded = "%" in path
        if is_encoded or "?" in path or "#" in path or path[0] != "/":  # PERF: most have none of these
            try:
                path = path_of(method, path)
            except ProtocolError as exc:
                return Refusal(exc.status, exc.detail, close=True)
            authority = authority_of(request.target)
            if authority is not None:
                # RFC 9112 section 3.2.2: the authority in the target overrides Host.
                host = [(b"host", authority.encode("ascii"))]
                request.fields = host + [field for field in request.fields if field[0] != b"host"]
        found = match(f"{method}:{path}")
        if method == "HEAD" and (found is None or not is_http(found[0])):
            found = match(f"GET:{path}")
        if found is None:
            return self._refuse(method, path)
        route, params = found
        if not (route.is_http or is_http(route)):
            return self._refuse(method, path)
        if is_encoded and SLASH in path:
            path = path.replace(SLASH, "/")
            params = unmask(params)
        request.path = path
        # PERF: the same as Event(None, route, {"request": request}, params, listener), at a third of the cost.
        event: Event[Any] = new(Event)
        event.route = route
        event.data = {"request": request}
        event.params = params
        event.listener = self._listener
        event.result = None
        event.error = None
        event.outcome = "ok"
        event._ctx = None  # noqa: SLF001
        event._cache = None  # noqa: SLF001
        event.is_done = False
        event.auto_done = True
        event.waiters = None
        return event


class _Methods:
    """Finds the allowed methods of a path.

    PERF: scanners send paths without a route. Asking the router for every method would make a miss cost many times as
    much as a hit.
    """

    def __init__(self, router: Router[Route]) -> None:
        self._router = router
        self._version = -1
        self._served: list[str] = []

    def allowed(self, path: str, missed: str) -> list[str]:
        """Return the methods that have a route for a path, in the order of METHODS. `missed` is known to have none."""
        if self._version != self._router.version:
            self._version = self._router.version
            starts = [route.path.partition("{")[0] for route in self._router]
            self._served = [m for m in METHODS if any(s.startswith(f"{m}:") or f"{m}:".startswith(s) for s in starts)]
        match = self._router.match
        allowed = []
        for method in self._served:  # PERF: a comprehension costs as much as a match that fails early
            if method != missed and (found := match(f"{method}:{path}")) is not None and is_http(found[0]):
                allowed.append(method)  # noqa: PERF401
        return allowed


def _refuse(method: str, path: str, allowed: list[str]) -> Refusal:
    if path == "*":
        allowed = list(METHODS)
    elif "GET" in allowed and "HEAD" not in allowed:
        allowed.append("HEAD")
    if "OPTIONS" not in allowed:
        allowed.append("OPTIONS")
    allow = ", ".join(allowed)
    if method == "OPTIONS":
        return Refusal(204, allow=allow)
    if method not in METHODS:
        return Refusal(501, HTTPStatus(501).phrase, allow)
    return Refusal(405, f"{method} is not allowed here; {allow} are", allow)
