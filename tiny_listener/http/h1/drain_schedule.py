"""When idle connections are closed in a drain. Pure.

A client that sends while the server closes gets no answer at all (RFC 9112 section 9.6). So no idle connection is
closed at once: each has a moment of its own, spread over a window, in which a request is still answered, with
`Connection: close`. Then the kernel is asked whether bytes wait that nobody has read yet; only when none do is the
connection closed, first on this side alone, so that what comes a moment later meets no reset.
"""

from __future__ import annotations

__all__ = ["FRESH_GRACE", "KEPT_GRACE", "PARTING_LINGER", "leaves_at"]

KEPT_GRACE = 1.0
"""Seconds that a connection in use has in a drain, from its last answer on, for a next request: that one's answer says
that it is the last."""
FRESH_GRACE = 2.0
"""Seconds that a new connection has, once a drain began, to send the request that it was opened for."""
EARLIEST = 0.2
"""Seconds from a drain's beginning until the first idle connection is closed: clients that wake up at the worst moment
are answered."""
WINDOW = 1.3
"""Seconds over which idle connections are closed from then on: not all of their clients come back at once."""
PARTING_LINGER = 0.5
"""Seconds for which what a client sends is discarded after its idle connection was closed on this side."""


def leaves_at(began: float, *, last_active: float, slack: float, has_asked: bool, share: float) -> float:
    """Return when an idle connection is to be closed. All times are on the loop's clock, in seconds.

    :param began: when the drain began
    :param last_active: when the connection was last active, by a stamp that may be too early
    :param slack: by how much it may be
    :param has_asked: whether a request has come on it yet
    :param share: of the connection in the window, from 0 to 1
    """
    if not has_asked:
        return began + FRESH_GRACE
    spread = began + EARLIEST + share * WINDOW
    if last_active < began - slack:
        return spread
    return max(spread, max(last_active, began) + KEPT_GRACE)
