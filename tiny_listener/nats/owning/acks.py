"""Confirmed acknowledgements: an event is settled when the server has answered its `+ACK`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from ..connection import Connection, Msg, status_of

__all__ = ["Acks"]

ACK: Final = b"+ACK"
AGAIN: Final = 1.0
"""Seconds after which an answer is taken to be lost. The same acknowledgement twice does no harm."""


class Acks:
    """Acknowledges messages.

    :param doubt: called when nobody answers for a consumer: it is gone, or JetStream elects a leader
    """

    def __init__(self, connection: Connection, doubt: Callable[[], None]) -> None:
        self._connection: Final = connection
        self._doubt: Final = doubt
        self._flying: Final[dict[int, tuple[str, float]]] = {}
        self._done: asyncio.Future[None] | None = None
        self._token = 0
        self._inbox = ""

    async def run(self) -> None:
        """Acknowledge again what was not answered in time, until cancelled."""
        self._inbox = self._connection.new_inbox()
        await self._connection.subscribe(f"{self._inbox}.*", self._answered)
        while True:
            await asyncio.sleep(AGAIN / 4)
            now = time.monotonic()
            late = [token for token, (_, at) in self._flying.items() if now - at > AGAIN]
            if late and self._connection.is_connected:
                await self._send(late)

    async def settle(self, replies: Iterable[str]) -> None:
        """Acknowledge messages, and return when each is confirmed, or given up by `forget`.

        :param replies: the reply subjects
        """
        tokens = []
        for reply in replies:
            self._token += 1
            self._flying[self._token] = reply, time.monotonic()
            tokens.append(self._token)
        if not tokens:
            return
        self._done = asyncio.get_running_loop().create_future()
        await self._send(tokens)
        if self._flying:
            await self._done
        self._done = None

    async def _send(self, tokens: list[int]) -> None:
        for token in tokens:
            if (flying := self._flying.get(token)) is not None:
                self._flying[token] = flying[0], time.monotonic()
                await self._connection.publish(flying[0], ACK, reply=f"{self._inbox}.{token}")

    async def again(self) -> None:
        """Acknowledge again what is not confirmed: the connection was lost meanwhile."""
        await self._send(list(self._flying))

    def forget(self, consumer: str) -> None:
        """A consumer is gone: what is not confirmed is not settled, and another server has it."""
        part = f".{consumer}."
        for token in [token for token, (reply, _) in self._flying.items() if part in reply]:
            del self._flying[token]
        self._look()

    def _answered(self, msg: Msg) -> None:
        token = int(msg.subject.rpartition(".")[2])
        if status_of(msg) is not None:
            if token in self._flying:
                self._doubt()
            return
        self._flying.pop(token, None)
        self._look()

    def _look(self) -> None:
        if not self._flying and self._done is not None and not self._done.done():
            self._done.set_result(None)
