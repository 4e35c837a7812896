"""What the core tells those who watch it: a protocol, and the observer that looks away.

The core imports no metrics library. It calls these methods, on the thread of the event loop, at the end of
what they count and before the outcome can be seen from outside (a client that has its answer finds it
counted). An implementation must not block, must not raise, and costs what it costs on the hot path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from .route import Route

__all__ = ["KNOWN_METHODS", "NULL_OBSERVER", "Observer", "Outcome", "RouteObserver"]

Outcome = Literal["ok", "error", "timeout", "cancelled"]
"""How the dispatch of an event ended: as it should, with an exception of the handler or of a hook, by
the time limit of `trigger_event(timeout=...)`, or by cancellation."""


KNOWN_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
"""Methods that metrics and spans name; all others are `_OTHER`. RFC 9110 (9.3), RFC 5789 (PATCH) and QUERY: the default
list of OpenTelemetry's semantic conventions. Method names are case-sensitive, so "get" is not among them."""

HTTPSamples: TypeAlias = "list[tuple[str, float]]"
"""Of each request its method, and the seconds that `event_done` and `http_response` would be told."""


class RouteObserver(Protocol):
    """Watches the events of one route."""

    def event_done(self, seconds: float, outcome: Outcome) -> None:
        """An event of this route was dispatched; `seconds` from its trigger to the end of its hooks."""

    def http_response(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """An HTTP response of this route is ready to be written; `seconds` since the request's head was read.

        `trace_id`: 32 hexadecimal digits, where the request belongs to a trace that is recorded.
        """

    def http_events(self, samples: HTTPSamples) -> None:
        """Events were dispatched with the outcome "ok", and their HTTP responses with the status 200 are ready.

        The same as `event_done` and `http_response` for each, at a fraction of the cost.
        """


class Observer(Protocol):
    """Watches a listener."""

    def route_added(self, route: Route) -> RouteObserver:
        """`route` was registered; the result will be told of its events."""

    def not_found(self) -> None:
        """An event, of any source, matched no route."""

    def http_not_found(self, samples: HTTPSamples) -> None:
        """Requests matched no route, and their HTTP responses with the status 404 are ready.

        The same as `not_found` and `http_unrouted` for each, at a fraction of the cost.
        """

    def http_unrouted(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """An HTTP response that no route made (404, 405, a protocol error) is ready to be written.

        `method` is the name that the client sent, or "" where none could be read: hostile text.
        """


class _NullRouteObserver:
    def event_done(self, seconds: float, outcome: Outcome) -> None:
        pass

    def http_response(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        pass

    def http_events(self, samples: HTTPSamples) -> None:
        pass


class _NullObserver:
    _route = _NullRouteObserver()

    def route_added(self, route: Route) -> RouteObserver:
        return self._route

    def not_found(self) -> None:
        pass

    def http_not_found(self, samples: HTTPSamples) -> None:
        pass

    def http_unrouted(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        pass


NULL_OBSERVER: Observer = _NullObserver()
"""The observer of a listener that nobody watches (`--no-metrics`)."""
