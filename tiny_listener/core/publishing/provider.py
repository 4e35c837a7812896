"""The way to the carrier of published events, as the process around a listener provides it."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ...events.settings import EventSettings

__all__ = ["CarrierProvider", "clock_of", "draw_of"]


class CarrierProvider(Protocol):
    """Connects a listener with the carrier.

    For tests, it may have a `clock`, which returns seconds since 1970, and a `draw` in place of `random.uniform`.
    """

    @property
    def settings(self) -> EventSettings:
        """Where published events are stored, and the limits; the carrier has the same."""

    def want(self, on_link: Callable[[socket.socket], None], *, starts: bool) -> None:
        """Ask for a link to the carrier. A second call may follow, to start it.

        :param on_link: called in the thread of the loop with a connected socket (SOCK_STREAM), which then belongs to
            the callee: now or later, and again after each restart of the carrier. The end of a link is end of file on
            its socket, and may be noticed after the next link has come
        :param starts: whether the carrier is started if it does not run yet; False: the link comes if something else
            starts it
        :raises CarrierError: it cannot be started
        """


def clock_of(provider: CarrierProvider) -> Callable[[], float]:
    """Return what tells the time, in seconds since 1970."""
    clock: Any = getattr(provider, "clock", time.time)
    return clock  # type: ignore[no-any-return]


def draw_of(provider: CarrierProvider) -> Callable[[float, float], float]:
    """Return what draws the wait of a retry between two bounds."""
    draw: Any = getattr(provider, "draw", random.uniform)
    return draw  # type: ignore[no-any-return]
