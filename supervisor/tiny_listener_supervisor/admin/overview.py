"""The data of the admin endpoint's status page at one instant: `/overview.json`."""

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

    :ivar counts: counts of events since the server started
    :ivar in_progress: events whose handling has started but not ended
    :ivar connections: open HTTP connections
    :ivar restarts: number of workers that replaced another, by reason; None without a supervisor
    """

    counts: Counts
    in_progress: int
    connections: int
    restarts: dict[str, int] | None


class Overview(msgspec.Struct, frozen=True):
    """A server at the time of the poll.

    Clients compute rates: the difference of two counts, divided by the difference of their clocks. If `instance`
    differs, the server was restarted and all counts started again at zero, so there is no difference to compute.

    :ivar instance: a text that is unique to each start of a server
    :ivar clock: seconds since a fixed time for one instance; monotonic
    :ivar version: of tiny-listener
    :ivar python: the version of Python
    :ivar server: the same as `/status.json`
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

    :param look: returns what the processes are doing now
    """
    view = look()
    restarts = dict(view.restarts) if view.restarts is not None else None
    return Measured(counts, view.in_progress, view.connections, restarts)
