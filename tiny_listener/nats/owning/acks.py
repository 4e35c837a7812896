"""Confirmed acknowledgements: an event is settled when the server has answered its `+ACK`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from ..connection import Connection, Msg, status_of

__all__ = ["Acks"]

ACK: Final = b"+ACK"
AGAIN: Final = 1.0
"""Seconds after which an answer is taken to be lost. The same acknowledgement twice does no harm."""


@dataclass(eq=False)
class Flying:
    """An acknowledgement that is not confirmed.

    :ivar reply: the subject that it is sent to; None: the event must be delivered again before that is known
    :ivar token: of the answer that counts
    :ivar at: (monotonic) when it was sent
    """

    reply: str | None
    token: int = 0
    at: float = 0.0


class Acks:
    """Acknowledges events.

    :param doubt: called when nobody answers for a consumer: it is gone, or JetStream elects a leader
    """

    def __init__(self, connection: Connection, doubt: Callable[[], None]) -> None:
        self._connection: Final = connection
        self._doubt: Final = doubt
        self._flying: Final[dict[int, Flying]] = {}
        self._seqs: Final[dict[int, int]] = {}
        self._done: asyncio.Future[None] | None = None
        self._token = 0
        self._inbox = ""

    @property
    def unconfirmed(self) -> Collection[int]:
        """The events whose acknowledgement is not confirmed, by their place in the stream."""
        return self._flying.keys()

    async def run(self) -> None:
        """Acknowledge again what was not answered in time, until cancelled."""
        self._inbox = self._connection.new_inbox()
        await self._connection.subscribe(f"{self._inbox}.*", self._answered)
        while True:
            await asyncio.sleep(AGAIN / 4)
            before = time.monotonic() - AGAIN
            late = [seq for seq, flying in self._flying.items() if flying.reply is not None and flying.at <= before]
            if late and self._connection.is_connected:
                await self._send(late)

    async def settle(self, replies: dict[int, str]) -> None:
        """Acknowledge events, and return when each is confirmed, or given up.

        :param replies: the subject for the acknowledgement of each, by its place in the stream
        """
        if not replies:
            return
        for seq, reply in replies.items():
            self._flying[seq] = Flying(reply)
        self._done = asyncio.get_running_loop().create_future()
        await self._send(list(replies))
        if self._flying:
            await self._done
        self._done = None

    async def _send(self, seqs: list[int]) -> None:
        for seq in seqs:
            flying = self._flying.get(seq)
            if flying is not None and flying.reply is not None:
                self._seqs.pop(flying.token, None)
                self._token += 1
                flying.token, flying.at = self._token, time.monotonic()
                self._seqs[flying.token] = seq
                await self._connection.publish(flying.reply, ACK, reply=f"{self._inbox}.{flying.token}")

    async def again(self) -> None:
        """Acknowledge again what is not confirmed: the connection was lost meanwhile."""
        await self._send(list(self._flying))

    def suspend(self, seqs: Collection[int]) -> None:
        """Wait until each of these events is delivered again.

        A server that was killed may have forgotten that it delivered an event. It confirms the acknowledgement, does
        not carry it out, and delivers the event again.
        """
        for seq in seqs:
            flying = self._flying[seq]
            flying.reply = None
            self._seqs.pop(flying.token, None)

    async def delivered_again(self, seq: int, reply: str) -> None:
        """An event has come again: its acknowledgement goes to another subject."""
        flying = self._flying.get(seq)
        if flying is not None:
            flying.reply = reply
            await self._send([seq])

    def give_up(self, seqs: Collection[int]) -> None:
        """These are over: they are not stored any more, or another server has them."""
        for seq in seqs:
            flying = self._flying.pop(seq, None)
            if flying is not None:
                self._seqs.pop(flying.token, None)
        self._look()

    def _answered(self, msg: Msg) -> None:
        seq = self._seqs.get(int(msg.subject.rpartition(".")[2]))
        if seq is None:
            return  # an answer that came late
        if status_of(msg) is None:
            self.give_up([seq])
        else:
            self._doubt()

    def _look(self) -> None:
        if not self._flying and self._done is not None and not self._done.done():
            self._done.set_result(None)
