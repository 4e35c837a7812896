"""What the admin endpoint's page shows of a server, at one instant: `/overview.json`."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tiny_listener import __version__

if TYPE_CHECKING:
    from tiny_listener_metrics import Counts, ServerView

    from .status import Status

__all__ = ["Measured", "Overview", "measured"]


class Measured(msgspec.Struct, frozen=True):
    """What is measured.

    :ivar counts: of events, since the server started
    :ivar in_progress: events whose handling has begun and not ended
    :ivar connections: HTTP connections that are open
    :ivar restarts: how many workers took the place of another, by reason; None without a supervisor
    """

    counts: Counts
    in_progress: int
    connections: int
    restarts: dict[str, int] | None


class Overview(msgspec.Struct, frozen=True):
    """A server, as whoever polls it finds it.

    Rates are for the reader to compute: the difference of two counts, by that of their clocks. Where `instance` differs
    another server has taken the place, all counts began anew, and there is no difference.

    :ivar instance: a text that no other start of a server has
    :ivar clock: seconds, from an instant that is the same for one instance; it never goes back
    :ivar version: of tiny-listener
    :ivar python: the version of Python
    :ivar server: as `/status.json` has it
    :ivar measured: None with --no-metrics
    """

    instance: str
    clock: float
    server: Status
    measured: Measured | None
    version: str = __version__
    python: str = platform.python_version()


def measured(counts: Counts, look: Callable[[], ServerView]) -> Measured:
    """Return what is measured.

    :param look: tells what the processes do now
    """
    view = look()
    restarts = dict(view.restarts) if view.restarts is not None else None
    return Measured(counts, view.in_progress, view.connections, restarts)
