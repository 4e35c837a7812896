"""When idle connections are closed in a drain. Pure.

A client that sends while the server closes gets no response at all (RFC 9112 section 9.6). So idle connections are not
closed at once but spread over a window. Until then a request is still answered, with `Connection: close`. A connection
is closed only if the kernel has no unread bytes of it, and first only its sending side, so that a request that arrives
a moment later causes no reset.
"""

from __future__ import annotations

__all__ = ["FRESH_GRACE", "KEPT_GRACE", "PARTING_LINGER", "leaves_at"]

KEPT_GRACE = 1.0
"""Seconds in a drain after its last response for which a connection in use stays open. The response to a next request
has `Connection: close`."""
FRESH_GRACE = 2.0
"""Seconds in a drain for which a new connection may send its first request."""
EARLIEST = 0.2
"""Seconds from the start of a drain until the first idle connection is closed, so that requests already on their way
are answered."""
WINDOW = 1.3
"""Seconds over which idle connections are closed, so that their clients do not all reconnect at once."""
PARTING_LINGER = 0.5
"""Seconds for which input is discarded after the sending side of an idle connection was closed."""


def leaves_at(began: float, *, last_active: float, slack: float, has_asked: bool, share: float) -> float:
    """Return when to close an idle connection. All times are on the loop's clock, in seconds.

    :param began: start of the drain
    :param last_active: time of the connection's last activity, which may be too early
    :param slack: seconds by which `last_active` may be too early
    :param has_asked: whether it has received a request
    :param share: its position in the window, from 0 to 1
    """
    if not has_asked:
        return began + FRESH_GRACE
    spread = began + EARLIEST + share * WINDOW
    if last_active < began - slack:
        return spread
    return max(spread, max(last_active, began) + KEPT_GRACE)
