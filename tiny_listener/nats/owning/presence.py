"""Heartbeats of this server, and those of the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from ...errors import CarrierError
from ..connection import Connection, Msg
from .members import BEAT, Heartbeat, Members

__all__ = ["Presence"]

INTRODUCTION: Final = 0.4
"""Seconds in which the others answer our first heartbeat."""


class Presence:
    """Tells the other servers that this one lives.

    :param subject: of heartbeats
    :param members: the servers there are
    :param look: called when something may have changed
    :param spawn: runs a coroutine
    """

    def __init__(
        self,
        connection: Connection,
        subject: str,
        members: Members,
        look: Callable[[], None],
        spawn: Callable[[Awaitable[object]], None],
    ) -> None:
        self._connection: Final = connection
        self._subject: Final = subject
        self._members: Final = members
        self._look: Final = look
        self._spawn: Final = spawn

    async def meet(self, host: str) -> None:
        """Learn which other servers there are.

        :param host: our name, as it was given
        :raises CarrierError: one of them has our name
        """
        await self._connection.subscribe(self._subject, self._came)
        await self.beat()
        await asyncio.sleep(INTRODUCTION)
        if self._members.namesake is not None:
            raise CarrierError(f"Another server on NATS has the name {host!r} too: give each its own (--events-host)")

    async def beat(self, *, leaves: bool = False) -> None:
        """Send a heartbeat."""
        beat = Heartbeat(self._members.host, self._members.instance, leaves)
        await self._connection.publish(self._subject, msgspec.json.encode(beat))

    async def run(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            await self.beat()
            await asyncio.sleep(BEAT)

    def _came(self, msg: Msg) -> None:
        try:
            beat = msgspec.json.decode(msg.data, type=Heartbeat)
        except msgspec.DecodeError:
            return  # somebody else's message
        if self._members.hear(beat, time.monotonic()):
            self._spawn(self.beat())
        self._look()
