"""Publishes single messages, and waits until the stream has stored each."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from .connection import Connection, Msg, status_of

__all__ = ["Asking"]

LATE: Final = 2.0
"""Seconds after which an answer is taken to be lost."""
AGAIN: Final = 0.25


class Asking:
    """Publishes until it is stored: the ids of the messages keep it from being stored twice."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Final = connection
        self._waiting: Final[dict[int, asyncio.Future[Msg]]] = {}
        self._token = 0

    async def open(self) -> None:
        """Subscribe to the answers."""
        self._inbox = self._connection.new_inbox()
        await self._connection.subscribe(f"{self._inbox}.*", self._came)

    def _came(self, msg: Msg) -> None:
        waiting = self._waiting.pop(int(msg.subject.rpartition(".")[2]), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(msg)

    async def publish(self, subject: str, data: bytes, headers: dict[str, str]) -> int:
        """Publish a message, again and again until it is stored. Return its place in its stream."""
        while True:
            self._token += 1
            token = self._token
            waiting = self._waiting[token] = asyncio.get_running_loop().create_future()
            await self._connection.publish(subject, data, reply=f"{self._inbox}.{token}", headers=headers)
            try:
                async with asyncio.timeout(LATE):
                    msg = await waiting
            except TimeoutError:
                continue
            finally:
                self._waiting.pop(token, None)
            if status_of(msg) is None:
                answer: dict[str, Any] = msgspec.json.decode(msg.data)
                if "error" not in answer:
                    return int(answer["seq"])
            await asyncio.sleep(AGAIN)
