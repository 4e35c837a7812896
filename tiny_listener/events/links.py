"""The links of the workers to their carrier."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from .link import Gone, Link
from .messages import FromCarrier, ToCarrier, Welcome

__all__ = ["Links"]


class Links:
    """Takes what workers say, and tells them what they are to know.

    :param welcome: returns what a new link is told first
    :param hear: called with the number of a link, and what came from it, or that it is gone
    """

    def __init__(self, welcome: Callable[[], Welcome], hear: Callable[[int, list[ToCarrier] | Gone], None]) -> None:
        self._welcome: Final = welcome
        self._hear: Final = hear
        self._links: Final[dict[int, Link[ToCarrier, FromCarrier]]] = {}
        self._next = 1
        self._unlinked: asyncio.Future[None] | None = None

    def attach(self, sock: socket.socket, slot: int) -> None:
        """Serve a worker.

        :param sock: our end of a connected pair (SOCK_STREAM)
        """
        number, self._next = self._next, self._next + 1
        link: Link[ToCarrier, FromCarrier] = Link(
            ToCarrier, partial(self._hear, number), partial(self._lose, number, slot)
        )
        self._links[number] = link
        link.open(sock)
        link.send(self._welcome())

    def _lose(self, number: int, slot: int) -> None:
        self._links.pop(number, None)
        if not self._links and self._unlinked is not None and not self._unlinked.done():
            self._unlinked.set_result(None)
        self._hear(number, Gone(slot))

    async def unlinked(self) -> None:
        """Return when every worker has closed its link."""
        if self._links:
            self._unlinked = asyncio.get_running_loop().create_future()
            await self._unlinked

    def send(self, sends: Mapping[int, list[FromCarrier]]) -> None:
        """Send messages to workers, by the number of their link. A link that is gone is left out."""
        for number, messages in sends.items():
            if (link := self._links.get(number)) is not None:
                link.send_now(messages)

    def close(self) -> None:
        """Close all."""
        for link in list(self._links.values()):
            link.close()
