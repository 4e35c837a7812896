"""Cross-origin requests, as the Fetch standard has them (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..response import Response
from ..syntax import METHODS, is_token
from .varying import add_vary

if TYPE_CHECKING:
    from ..request import Request
    from .application import Application

__all__ = ["CORS"]

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?\Z")
"""An origin as browsers serialize it (RFC 6454 section 6.2)."""
DEFAULT_PORTS = {"http": 80, "https": 443}
FORBIDDEN_METHODS = frozenset({"CONNECT", "TRACE", "TRACK"})
ALLOW_ORIGIN = "access-control-allow-origin"


class CORS:
    """Tells browsers which other origins may use the application.

    A preflight is answered with 204, also where the path has no handler for OPTIONS. A response to an origin that is
    not allowed has no CORS fields, so that the browser keeps it from the page; the request itself is handled.

    :param origins: `scheme://host` or `scheme://host:port`, as browsers send them, or `null`; `*` for any
    :param methods: those that a page may use; GET, HEAD and POST need no permission. `*` for any
    :param headers: request headers that a page may set beyond those that need no permission; `*` for any but
        Authorization, which has to be named
    :param expose: response headers that a page may read beyond those that need no permission; `*` for any
    :param credentials: whether requests may have cookies, authorization or a client certificate. Then `*` is refused
        everywhere: browsers take it for a name
    :param max_age: seconds for which a browser may keep the answer to a preflight; None: its own default, 5 s
    :raises ValueError: an origin, method or header that no browser would send, or options that contradict each other
    """

    def __init__(
        self,
        origins: str | Iterable[str],
        *,
        methods: str | Iterable[str] = ("GET", "HEAD", "POST"),
        headers: str | Iterable[str] = (),
        expose: str | Iterable[str] = (),
        credentials: bool = False,
        max_age: int | None = None,
    ) -> None:
        self._origins = frozenset(_check(_check_origin, "origins", origins))
        self._credentials = credentials
        allowed = {
            "methods": _check(_check_method, "methods", methods),
            "headers": _check(_check_header, "headers", headers),
            "expose": _check(_check_header, "expose", expose),
        }
        if not self._origins:
            raise ValueError('CORS(origins=...) is empty: name the origins, such as "https://app.example", or "*"')
        if credentials:
            for option, names in {"origins": self._origins, **allowed}.items():
                if "*" in names:
                    raise ValueError(
                        f'CORS({option}="*", credentials=True): browsers accept no "*" with credentials; name the '
                        f"{'response headers' if option == 'expose' else option}"
                    )
        if max_age is not None and (type(max_age) is not int or max_age < 0):
            raise ValueError(f"CORS(max_age=...) is a number of seconds, 0 or more, not {max_age!r}")
        self._allows_any = "*" in self._origins
        self._preflight = {
            "access-control-allow-methods": ", ".join(allowed["methods"]),
            "access-control-allow-headers": ", ".join(allowed["headers"]),
            "access-control-max-age": "" if max_age is None else str(max_age),
        }
        self._actual = {"access-control-expose-headers": ", ".join(allowed["expose"])}

    def install(self, app: Application) -> None:
        """See `HTTPListener.use`."""
        app.on_response(self._respond)

    async def _respond(self, request: Request | None, response: Response) -> Response:
        if not self._allows_any:
            add_vary(response.headers, "Origin")
        origin = None if request is None else request.headers.get("origin")
        if not self._allows_any and (origin is None or origin not in self._origins):
            return response
        fields = self._actual
        if _is_preflight(request):
            fields = self._preflight
            # The server's own 404, 405 or 501, or a handler's 401: a preflight has no credentials.
            if 300 <= response.status < 500:
                response = Response(status=204)
                if not self._allows_any:
                    add_vary(response.headers, "Origin")
        self._add(response, origin, fields)
        return response

    def _add(self, response: Response, origin: str | None, fields: dict[str, str]) -> None:
        """Add the fields, but those that the application has set itself."""
        headers = response.headers
        headers.setdefault(ALLOW_ORIGIN, "*" if self._allows_any else origin or "")
        if self._credentials:
            headers.setdefault("access-control-allow-credentials", "true")
        for name, value in fields.items():
            if value:
                headers.setdefault(name, value)


def _is_preflight(request: Request | None) -> bool:
    """Whether a request is a CORS-preflight request (Fetch, section 3.3.2)."""
    return (
        request is not None
        and request.method == "OPTIONS"
        and "origin" in request.headers
        and "access-control-request-method" in request.headers
    )


def _check(check: Any, option: str, names: str | Iterable[str]) -> tuple[str, ...]:
    given = (names,) if isinstance(names, str) else tuple(names)
    for name in given:
        if name != "*":
            check(option, name)
    if "*" in given and len(given) > 1 and not (option == "headers" and _only_adds_authorization(given)):
        also = ', but for "Authorization", which "*" leaves out' if option == "headers" else ""
        raise ValueError(f'CORS({option}=...) has "*" and others: "*" is all of them{also}')
    return given


def _only_adds_authorization(names: tuple[str, ...]) -> bool:
    return {name.lower() for name in names} == {"*", "authorization"}


def _check_origin(option: str, origin: str) -> None:
    if origin == "null":
        return
    parts = urlsplit(origin)
    problem = ""
    if not parts.scheme or not parts.netloc:
        problem = 'write scheme and host, such as "https://app.example"'
    elif parts.path or parts.query or parts.fragment:
        problem = f'an origin has no path: write "{parts.scheme}://{parts.netloc}"'
    elif origin != origin.lower():
        problem = f'browsers send it in lower case: write "{origin.lower()}"'
    elif ORIGIN.match(origin) is None:
        problem = "hosts are written in ASCII (xn--...), without user, and a port is a number" + (
            '; there are no patterns, list the origins or write "*"' if "*" in origin else ""
        )
    elif parts.port is not None and parts.port == DEFAULT_PORTS.get(parts.scheme):
        problem = f'browsers leave the default port out: write "{origin.rpartition(":")[0]}"'
    if problem:
        raise ValueError(f"CORS({option}=...): {origin!r} is no origin that browsers send; {problem}")


def _check_method(option: str, method: str) -> None:
    if not is_token(method):
        raise ValueError(f"CORS({option}=...): {method!r} is not a method")
    if method not in METHODS and method.upper() in METHODS:
        raise ValueError(
            f'CORS({option}=...): methods are case-sensitive, {method!r} is none: write "{method.upper()}"'
        )
    if method.upper() in FORBIDDEN_METHODS:
        raise ValueError(f"CORS({option}=...): browsers send no {method}")


def _check_header(option: str, name: str) -> None:
    if not is_token(name):
        raise ValueError(f"CORS({option}=...): {name!r} is not a header name")
