"""What is done for a connection as time goes by: its limits of time, and its end in a drain."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from .drain_schedule import PARTING_LINGER, leaves_at
from .kernel import Peer, has_unread, look_for_peer
from .states import State
from .timeouts import Overdue, overdue

if TYPE_CHECKING:
    from .connection import HTTPConnection

__all__ = ["enforce_limits", "part"]

GOLDEN = 0.6180339887498949
"""The golden ratio's fraction: multiples of it spread evenly between 0 and 1."""


def enforce_limits(connection: HTTPConnection, now: float) -> None:
    """Enforce the limits of time; called about once a second.

    :param now: on the loop's clock
    """
    settings, writing = connection.server.settings, connection.writing
    had_unsent = writing.unsent
    unsent = connection.transport.get_write_buffer_size()
    if writing.look(unsent, now, is_blocked=connection.is_blocked) > settings.write_timeout:
        connection.transport.abort()
        return
    if connection.intake.is_paused and connection.pipeline.exchange is not None:
        _look_for_the_client(connection)
    if connection.state is State.LINGERING and (unsent or had_unsent):
        connection.lingers_since = connection.last_active = now  # the time to linger begins when all of it is sent
    late = overdue(
        connection.state,
        now,
        settings,
        active=connection.last_active,
        since=connection.lingers_since if connection.state is State.LINGERING else connection.intake.head_since,
        awaits_body=connection.intake.awaits_body,
        draining=connection.server.draining,
    )
    if late is Overdue.IDLE:
        _leave(connection, now)
    elif late is Overdue.HEAD:
        connection.pipeline.refuse(408, f"the head was not complete after {settings.header_timeout:g} seconds")
        connection.go_on()
    elif late is Overdue.BODY and connection.intake.time_out_body():
        connection.go_on()
    elif late is Overdue.LINGERING and connection.lingers_since != -inf and has_unread(connection.transport):
        # This loop stood still, not the client. The next iteration discards what came: to close now would reset it.
        connection.lingers_since = -inf
    elif late is not None:
        connection.transport.abort()


def _look_for_the_client(connection: HTTPConnection) -> None:
    """Nothing is read from the client, so that the event loop does not say when it leaves."""
    peer = look_for_peer(connection.transport)
    if peer is Peer.GONE or (peer is Peer.HAS_CLOSED_ITS_SIDE and connection.scheme == "https"):
        connection.transport.abort()
    elif peer is Peer.HAS_CLOSED_ITS_SIDE and not connection.departure.has_left:
        connection.departure.has_left = True
        connection.departure.tell()
        connection.departure.watch_stream()


def part(connection: HTTPConnection, now: float, began: float, slack: float) -> None:
    """Close in a drain, when nothing is in flight and it is time to; see `parting`.

    :param began: when the drain began, on the loop's clock
    :param slack: seconds by which stamps of before may be too early
    """
    if connection.state is not State.IDLE:
        return
    share = hash(connection) * GOLDEN % 1.0  # PERF: as good as drawn by chance, and kept nowhere
    has_asked = bool(connection.reader.position)
    if now < leaves_at(began, last_active=connection.last_active, slack=slack, has_asked=has_asked, share=share):
        return
    _leave(connection, now)


def _leave(connection: HTTPConnection, now: float) -> None:
    """Close an idle connection, unless a request has come that nobody has read yet: the next iteration reads it."""
    if has_unread(connection.transport):
        return
    settings = connection.server.settings
    limit = settings.linger_timeout if connection.server.draining else settings.linger_time
    connection.pipeline.takes_more = False
    # A request that is on its way now meets no reset: it is discarded, and its client finds the connection closed.
    connection.linger(now - max(0.0, limit - PARTING_LINGER))
