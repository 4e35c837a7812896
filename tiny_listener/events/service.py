"""The carrier: engine, store and the links to workers, on one event loop."""

from __future__ import annotations

import socket
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .questions import Answer, Question
    from .settings import EventSettings

__all__ = ["EventService"]


class EventService:
    """Takes events from workers, stores them, and delivers each to a worker.

    :param settings: where and how many
    :raises CarrierError: the store cannot be opened
    """

    def __init__(self, settings: EventSettings) -> None:
        raise NotImplementedError

    def start(self, expected: Collection[int] = ()) -> None:
        """Open the store in the running loop, and begin to deliver.

        :param expected: slots whose workers may have events in flight of an earlier carrier of this server: nothing is
            delivered until each of them has registered, or its link is closed, or `Limits.lease` has passed
        :raises CarrierError: the store cannot be opened
        """
        raise NotImplementedError

    def attach(self, sock: socket.socket, slot: int) -> None:
        """Serve a worker.

        :param sock: our end of a connected pair (SOCK_STREAM)
        """
        raise NotImplementedError

    def answer(self, question: Question) -> Answer:
        """Answer an operator. Changes are stored a moment later, in the next transaction."""
        raise NotImplementedError

    async def close(self) -> None:
        """Store what was received, and close the store."""
        raise NotImplementedError
