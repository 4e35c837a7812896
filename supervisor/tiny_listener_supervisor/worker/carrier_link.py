"""The worker's way to the carrier of published events: it asks the supervisor for links."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from tiny_listener.events.settings import EventSettings
from tiny_listener.process.after_fork import separate_socket

from ..ipc.channel import Channel, ChannelClosed
from ..ipc.messages import FromWorker, ToWorker, WantCarrier

__all__ = ["CarrierLinks"]

RETRY = 0.2
"""Seconds until a message to the supervisor, or a link that was lost on its way, is tried again."""


class CarrierLinks:
    """Asks for links to the carrier, and passes them on; see `tiny_listener.core.publishing.provider.CarrierProvider`.

    :param channel: the channel to the supervisor
    :param settings: those of the carrier
    """

    def __init__(self, channel: Channel[ToWorker, FromWorker], settings: EventSettings) -> None:
        self.settings = settings
        self._channel = channel
        self._on_link: Callable[[socket.socket], None] | None = None

    def want(self, on_link: Callable[[socket.socket], None], *, starts: bool) -> None:
        """See `CarrierProvider`."""
        self._on_link = on_link
        self._ask(WantCarrier(starts))

    def _ask(self, message: WantCarrier) -> None:
        try:
            self._channel.send(message)
        except BlockingIOError:
            asyncio.get_running_loop().call_later(RETRY, self._ask, message)
        except ChannelClosed:  # who reads the channel ends this process
            pass

    def take(self, fd: int) -> None:
        """Pass a link on."""
        sock = socket.socket(fileno=fd)
        # A copy in a child of the application would keep the carrier from noticing the end of this process.
        separate_socket(sock)
        if self._on_link is None:
            sock.close()
        else:
            self._on_link(sock)

    def lost(self) -> None:
        """A link did not arrive, for want of file descriptors: ask for another one a moment later."""
        asyncio.get_running_loop().call_later(RETRY, self._ask, WantCarrier(starts=False, lost=True))
