"""The workers that asked for the carrier, and their links to it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from typing import TYPE_CHECKING

from ..ipc.channel import ChannelClosed
from ..ipc.messages import CarrierLink
from .messages import Attach

if TYPE_CHECKING:
    from ..fleet.slot import Worker
    from .messages import FromCarrier, Outbox, ToCarrier

__all__ = ["Links"]

logger = logging.getLogger("tiny_listener.supervisor")

RETRY = 0.05
"""Seconds until a link is sent again to a worker that cannot take messages now."""
RETRY_SOCKETS = 1.0
"""The same where no file descriptor was left for its ends."""


class Links:
    """Links each worker that asked to the carrier that runs, and again to each later one."""

    def __init__(self) -> None:
        self._asked: dict[int, tuple[int, Worker]] = {}
        self._ever: set[int] = set()
        self._outbox: Outbox[FromCarrier, ToCarrier] | None = None

    def want(self, slot: int, worker: Worker, *, lost: bool = False) -> None:
        """A worker asks for links to the carriers.

        :param lost: whether it had one, which was lost on its way
        """
        is_new = worker.pid not in self._asked
        self._asked[worker.pid] = slot, worker
        if is_new or lost:
            self._link(worker.pid, self._outbox)

    def lost(self, pid: int) -> None:
        """The carrier's end of a link was lost on its way: send both another one a moment later."""
        asyncio.get_running_loop().call_later(RETRY_SOCKETS, self._link, pid, self._outbox)

    def forget(self, pid: int) -> None:
        """A worker is dead."""
        self._asked.pop(pid, None)
        self._ever.discard(pid)

    def expected(self) -> list[int]:
        """Return the slot of each worker that may have events in flight of an earlier carrier. In a reload, two workers
        may have the same.
        """
        return sorted(slot for pid, (slot, _) in self._asked.items() if pid in self._ever)

    def open(self, outbox: Outbox[FromCarrier, ToCarrier], expected: list[int]) -> None:
        """A carrier is ready: link all workers to it.

        :param outbox: the way to it
        :param expected: the slots that it waits for
        """
        self._outbox = outbox
        for pid in list(self._asked):
            self._link(pid, outbox)
        # Where the worker has died since, only the end of a link ends that wait early.
        for slot in (Counter(expected) - Counter(slot for slot, _ in self._asked.values())).elements():
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            theirs.close()
            outbox.send(Attach(slot, 0), [ours.detach()])

    def close(self) -> None:
        """The carrier is gone."""
        self._outbox = None

    def _link(self, pid: int, outbox: Outbox[FromCarrier, ToCarrier] | None) -> None:
        """Send a worker its end of a new link, and the carrier the other."""
        if outbox is None or outbox is not self._outbox or pid not in self._asked:
            return
        slot, worker = self._asked[pid]
        loop = asyncio.get_running_loop()
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as exc:
            words = "No link from worker %d to the carrier of events: %s; trying again in %g s"
            logger.error(words, slot, exc.strerror, RETRY_SOCKETS, extra={"slot": slot, "pid": pid})
            loop.call_later(RETRY_SOCKETS, self._link, pid, outbox)
            return
        with ours, theirs:
            try:
                worker.channel.send(CarrierLink(), [theirs.fileno()])
            except ChannelClosed:
                return
            except OSError:  # its buffer is full, or too many descriptors are in flight (unix(7))
                loop.call_later(RETRY, self._link, pid, outbox)
                return
            self._ever.add(pid)
            outbox.send(Attach(slot, pid), [ours.detach()])
