"""The observer protocol, by which the core reports events to metrics, and an observer that does nothing.

The core imports no metrics library. It calls these methods on the event loop's thread, after the counted operation and
before its outcome is visible outside: a client that has its response finds it counted. An implementation must not
block or raise. It runs on the hot path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from .registration import Route

__all__ = ["KNOWN_METHODS", "NULL_OBSERVER", "Observer", "Outcome", "RouteObserver"]

Outcome = Literal["ok", "error", "timeout", "cancelled", "rejected"]
"""How the dispatch of an event ended: without an error, with an exception of the handler or a hook, by
`trigger_event(timeout=...)`, by cancellation, or with an exception that rejects what the event asks for
(`ListenerError.is_rejection`), such as an `HTTPError` below 500."""


KNOWN_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
"""Methods that metrics and spans name; all others are `_OTHER`. RFC 9110 (9.3), RFC 5789 (PATCH) and QUERY: the default
list of OpenTelemetry's semantic conventions. Method names are case-sensitive, so "get" is not among them."""

HTTPSamples: TypeAlias = "list[tuple[str, float]]"
"""For each request its method and its duration in seconds, as in `event_done` and `http_response`."""


class RouteObserver(Protocol):
    """Observes the events of one route."""

    def event_done(self, seconds: float, outcome: Outcome) -> None:
        """An event of this route was dispatched, in `seconds` from its trigger to the end of its hooks."""

    def http_response(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """An HTTP response of this route is about to be written, `seconds` after the request's head was read.

        `trace_id` is 32 hexadecimal digits if the request belongs to a recorded trace.
        """

    def http_events(self, samples: HTTPSamples) -> None:
        """Events had the outcome "ok", and their HTTP responses with status 200 are about to be written.

        Same as `event_done` and `http_response` for each, at a fraction of the cost.
        """


class Observer(Protocol):
    """Observes a listener."""

    def route_added(self, route: Route) -> RouteObserver:
        """`route` was registered. Return the observer of its events."""

    def not_found(self) -> None:
        """An event, from any source, matched no route."""

    def http_not_found(self, samples: HTTPSamples) -> None:
        """Requests matched no route, and their HTTP responses with status 404 are about to be written.

        Same as `not_found` and `http_unrouted` for each, at a fraction of the cost.
        """

    def http_unrouted(self, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """An HTTP response without a route (404, 405, a protocol error) is about to be written.

        `method` is untrusted text from the client, or "" if none could be parsed.
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
"""Does nothing (`--no-metrics`)."""
