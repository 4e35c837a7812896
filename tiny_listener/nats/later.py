"""Events that were published for later, and have fallen due: any server moves them to the stream of the events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ..events.envelope import Envelope
from .asking import Asking
from .connection import Connection, Msg, status_of
from .names import Names
from .wire import NoEvent, envelope_of

__all__ = ["Later"]

logger = logging.getLogger("tiny_listener.carrier")

CONSUMER: Final = "due"
BATCH: Final = 64
EXPIRES: Final = 30.0
"""Seconds that one pull stands."""
ACK_WAIT: Final = 30
"""Seconds after which another server moves what this one did not."""
SECOND: Final = 1_000_000_000


class Later:
    """Moves events that have fallen due.

    :param destination: returns the subject and the header fields of an event
    """

    def __init__(
        self,
        connection: Connection,
        names: Names,
        asking: Asking,
        destination: Callable[[Envelope], tuple[str, dict[str, str]]],
    ) -> None:
        self._connection: Final = connection
        self._names: Final = names
        self._asking: Final = asking
        self._destination: Final = destination
        self._came: Final = asyncio.Event()
        self._messages: Final[list[Msg]] = []
        self._is_over = True

    async def open(self) -> None:
        """Create the consumer that all servers share.

        :raises ApiError: it cannot be created
        :raises Unavailable: JetStream does not answer
        """
        config: dict[str, Any] = {
            "durable_name": CONSUMER,
            "filter_subject": self._names.due,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": ACK_WAIT * SECOND,
        }
        stream = self._names.later_stream
        body = {"stream_name": stream, "config": config}
        await self._connection.api(f"CONSUMER.DURABLE.CREATE.{stream}.{CONSUMER}", body)
        self._inbox = self._connection.new_inbox()
        await self._connection.subscribe(self._inbox, self._take)

    def _take(self, msg: Msg) -> None:
        if status_of(msg) is None:
            self._messages.append(msg)
        else:
            self._is_over = True
        self._came.set()

    def again(self) -> None:
        """Ask again: the connection was lost, and the pull with it."""
        self._is_over = True
        self._came.set()

    async def run(self) -> None:
        """Move events until cancelled."""
        asked = {"batch": BATCH, "expires": int(EXPIRES * SECOND)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._names.later_stream}.{CONSUMER}"
        left, until = 0, 0.0
        while True:
            if left <= 0 or self._is_over or time.monotonic() > until:
                left, until, self._is_over = BATCH, time.monotonic() + EXPIRES + 5, False
                if not await self._connection.publish(subject, msgspec.json.encode(asked), reply=self._inbox):
                    self._is_over = True
                    await asyncio.sleep(0.5)
                    continue
            try:
                async with asyncio.timeout(EXPIRES + 5):
                    await self._came.wait()
            except TimeoutError:
                continue
            self._came.clear()
            while self._messages:
                left -= 1
                await self._move(self._messages.pop(0))

    async def _move(self, msg: Msg) -> None:
        try:
            envelope = envelope_of(msg.headers, msg.data)
        except NoEvent as exc:
            logger.error("A message of %s is no event of ours, and is dropped: %s", msg.subject, exc)
        else:
            subject, headers = self._destination(envelope)
            await self._asking.publish(subject, msg.data, headers)
        await self._connection.publish(msg.reply, b"+ACK")
