"""Asks for the events of the partitions: one pull for each, asked again when it has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from ..connection import Connection, Msg, status_of
from ..names import Names, position_of

__all__ = ["Pulls"]

BATCH: Final = 256
"""Events that one pull asks for."""
EXPIRES: Final = 30.0
"""Seconds until a pull ends that was not filled."""
HEARTBEAT: Final = 5.0
"""Seconds of silence after which the server says that the pull still stands."""
PAUSE: Final = 0.5
"""Seconds until a pull is asked again that was refused."""
SECOND: Final = 1_000_000_000
GONE: Final = ("consumer deleted", "consumer not found")


@dataclass(eq=False)
class Pull:
    """A pull that stands.

    :ivar left: the events that may still come
    :ivar heard: (monotonic) when something last came
    """

    partition: int
    consumer: str
    left: int
    heard: float


class Pulls:
    """The pulls of the partitions that are owned.

    :param take: called with a partition, a place in the stream and a message that has an event
    :param doubt: called when a consumer is gone, or may be
    :param owner: returns the consumer of a partition that is ours
    """

    def __init__(
        self,
        connection: Connection,
        names: Names,
        take: Callable[[int, int, Msg], None],
        doubt: Callable[[], None],
        owner: Callable[[int], str | None],
    ) -> None:
        self._owner: Final = owner
        self._connection: Final = connection
        self._names: Final = names
        self._take: Final = take
        self._doubt: Final = doubt
        self._pulls: Final[dict[int, Pull]] = {}
        self._of: Final[dict[int, int]] = {}
        self._numbers = 0
        self._asking: Final[set[asyncio.Task[None]]] = set()
        self._inbox = ""

    async def run(self) -> None:
        """Look after the pulls until cancelled."""
        self._inbox = self._connection.new_inbox()
        await self._connection.subscribe(f"{self._inbox}.*", self._came)
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for number, pull in list(self._pulls.items()):
                if now - pull.heard > 2.5 * HEARTBEAT and self._connection.is_connected:
                    self._end(number)
                    self.ask(pull.partition, pull.consumer)

    def ask(self, partition: int, consumer: str) -> None:
        """Pull the events of a partition from now on."""
        self._numbers += 1
        number = self._numbers
        self._pulls[number] = Pull(partition, consumer, BATCH, time.monotonic())
        self._of[partition] = number
        body = {
            "batch": BATCH,
            "expires": int(EXPIRES * SECOND),
            "idle_heartbeat": int(HEARTBEAT * SECOND),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._names.stream}.{consumer}"
        asking = self._connection.publish(subject, msgspec.json.encode(body), reply=f"{self._inbox}.{number}")
        task: asyncio.Task[None] = asyncio.ensure_future(_ignore(asking))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def has(self, partition: int) -> bool:
        """Whether a pull for a partition stands."""
        return partition in self._of

    def stop(self, partition: int) -> None:
        """Take no more events of a partition. What still comes of it is not acknowledged, and stays stored."""
        number = self._of.pop(partition, None)
        if number is not None:
            self._pulls.pop(number, None)

    def again(self) -> None:
        """Ask again for all: the connection was lost, and the pulls with it."""
        for number, pull in list(self._pulls.items()):
            self._end(number)
            self.ask(pull.partition, pull.consumer)

    def _end(self, number: int) -> None:
        pull = self._pulls.pop(number)
        if self._of.get(pull.partition) == number:
            del self._of[pull.partition]

    def _came(self, msg: Msg) -> None:
        status = status_of(msg)
        if status is None:
            self._event(msg)
            return
        number = int(msg.subject.rpartition(".")[2])
        pull = self._pulls.get(number)
        if pull is None:
            return
        pull.heard = time.monotonic()
        text = str((msg.headers or {}).get("Description", "")).lower()
        if status == 100:
            return
        self._end(number)
        if any(text.startswith(gone) for gone in GONE) or status == 503:
            self._refused(pull, status)
        elif status in (404, 408):
            self.ask(pull.partition, pull.consumer)
        else:
            asyncio.get_running_loop().call_later(PAUSE, self._ask_still, pull)

    def _event(self, msg: Msg) -> None:
        """An event has come. It has its own subject, and in that of its acknowledgement the consumer."""
        position = position_of(msg.reply)
        owned = self._names.owned(position.consumer)
        if owned is None or self._owner(owned.partition) != position.consumer:
            return  # of a partition that is not ours any more: it stays stored
        self._take(owned.partition, position.seq, msg)
        number = self._of.get(owned.partition)
        if number is None or (pull := self._pulls[number]).consumer != position.consumer:
            return  # its pull has ended: the server counts it as delivered nevertheless
        pull.heard = time.monotonic()
        pull.left -= 1
        if pull.left == 0:
            self._end(number)
            self.ask(pull.partition, pull.consumer)

    def _refused(self, pull: Pull, status: int) -> None:
        """The consumer is gone. Without responders that is not sure: JetStream may have no leader by now."""
        if status == 503:
            asyncio.get_running_loop().call_later(PAUSE, self._ask_still, pull)
        self._doubt()

    def _ask_still(self, pull: Pull) -> None:
        if pull.partition not in self._of and self._owner(pull.partition) == pull.consumer:
            self.ask(pull.partition, pull.consumer)


async def _ignore(asking: object) -> None:
    await asking  # type: ignore[misc]
