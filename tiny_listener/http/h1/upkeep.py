"""Periodic work on a connection: enforcing its timeouts, and closing it in a drain when it is idle."""

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
"""The fractional part of the golden ratio: its multiples modulo 1 are spread evenly."""


def enforce_limits(connection: HTTPConnection, now: float) -> None:
    """Enforce the timeouts of a connection. Called about once a second.

    :param now: the time on the loop's clock
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
        connection.lingers_since = connection.last_active = now  # the linger time begins when everything is sent
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
        # This loop was blocked, not the client. The next iteration discards the input; closing now would send a reset.
        connection.lingers_since = -inf
    elif late is not None:
        connection.transport.abort()


def _look_for_the_client(connection: HTTPConnection) -> None:
    """Ask the kernel whether the client has disconnected. The event loop does not report it while reading is paused."""
    peer = look_for_peer(connection.transport)
    if peer is Peer.GONE or (peer is Peer.HAS_CLOSED_ITS_SIDE and connection.scheme == "https"):
        connection.transport.abort()
    elif peer is Peer.HAS_CLOSED_ITS_SIDE and not connection.departure.has_left:
        connection.departure.has_left = True
        connection.departure.tell()
        connection.departure.watch_stream()


def part(connection: HTTPConnection, now: float, began: float, slack: float) -> None:
    """Close an idle connection in a drain when its time has come; see `drain_schedule`.

    :param began: start of the drain, on the loop's clock
    :param slack: seconds by which earlier timestamps may be too early
    """
    if connection.state is not State.IDLE:
        return
    share = hash(connection) * GOLDEN % 1.0  # PERF: as good as a random number, and needs no storage
    has_asked = bool(connection.reader.position)
    if now < leaves_at(began, last_active=connection.last_active, slack=slack, has_asked=has_asked, share=share):
        return
    _leave(connection, now)


def _leave(connection: HTTPConnection, now: float) -> None:
    """Close an idle connection, unless it has unread bytes: the next iteration reads them."""
    if has_unread(connection.transport):
        return
    settings = connection.server.settings
    limit = settings.linger_timeout if connection.server.draining else settings.linger_time
    connection.pipeline.takes_more = False
    # A request that arrives now causes no reset: it is discarded, and its client sees a closed connection.
    connection.linger(now - max(0.0, limit - PARTING_LINGER))
