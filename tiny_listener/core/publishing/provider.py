"""The way to the carrier of published events, as the process around a listener provides it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ...events.settings import EventSettings

__all__ = ["CarrierProvider"]


class CarrierProvider(Protocol):
    """Connects a listener with the carrier."""

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
