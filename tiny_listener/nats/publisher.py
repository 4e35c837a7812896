"""Publishes events to the stream: a window of them, in order for each key, each until its outcome is known."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ..events.envelope import Envelope, partition_of
from ..events.messages import Confirm, FromCarrier, Publish, Refuse
from .connection import Connection, Msg, status_of
from .names import Names
from .streams import SCHEDULES
from .wire import headers_of

__all__ = ["Publisher", "partition_for"]

WINDOW: Final = 512
"""Publishes whose acknowledgement is awaited."""
LATE: Final = 3.0
"""Seconds after which an acknowledgement is taken to be lost."""
AGAIN: Final = 0.25
"""Seconds until a publish is tried again that was not taken."""
SWEEP: Final = 0.1
SLACK: Final = 6.0
"""Seconds after its deadline when a publisher has given up for sure."""
GONE: Final = 0
"""No link has this number."""
FULL: Final = 10077
TOO_LARGE: Final = 10054
FINAL: Final = {10060: "another stream takes the subject", 10025: "JetStream has no room on the disk"}


def partition_for(envelope: Envelope, partitions: int) -> int:
    """Return the partition of an event: that of its key; without a key, one by its id."""
    affinity = envelope.key if envelope.key is not None else envelope.cid
    return partition_of(envelope.id if affinity is None else affinity, partitions)


@dataclass(eq=False)
class Pending:
    """An event whose outcome is not known.

    :ivar lane: events with the same are published one after another; None: at once
    :ivar deadline: (monotonic) when its publisher gives up
    :ivar again: (monotonic) when to publish it again
    :ivar why: what was wrong the last time
    """

    number: int
    message: Publish
    lane: str | None
    deadline: float
    again: float = 0.0
    why: Refuse | None = None


class Publisher:
    """Publishes events.

    :param answer: called with the link of a publisher and what to tell it
    :param reply_to: the subject for results of requests
    """

    def __init__(
        self,
        connection: Connection,
        names: Names,
        partitions: int,
        answer: Callable[[int, FromCarrier], None],
        reply_to: str,
    ) -> None:
        self._connection: Final = connection
        self._names: Final = names
        self._partitions: Final = partitions
        self._answer: Final = answer
        self._reply_to: Final = reply_to
        self._lanes: Final[dict[str, deque[Pending]]] = {}
        self._ready: Final[deque[Pending]] = deque()
        self._flying: Final[dict[int, Pending]] = {}
        self._tokens = 0
        self._work: Final = asyncio.Event()
        self.is_idle: Final = asyncio.Event()
        self.is_idle.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        self._inbox = self._connection.new_inbox()
        await self._connection.subscribe(f"{self._inbox}.*", self._acknowledged)
        sweeping = asyncio.ensure_future(self._sweep())
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._ready and len(self._flying) < WINDOW and self._connection.is_connected:
                    await self._send(self._ready.popleft())
        finally:
            sweeping.cancel()

    def publish(self, number: int, message: Publish) -> None:
        """Publish an event.

        :param number: of its publisher's link
        """
        envelope = message.envelope
        if envelope.due is not None and self._connection.version < SCHEDULES:
            text = f"delay= and at= need a NATS server of version 2.12 or later, not {_text(self._connection.version)}"
            self._answer(number, Refuse(message.n, "failed", text))
            return
        lane = envelope.key if envelope.key is not None else envelope.cid
        # The publisher waits this long for room, and a little longer for the answer.
        pending = Pending(number, message, lane, time.monotonic() + max(message.wait, 0.0))
        self.is_idle.clear()
        if lane is not None:
            queue = self._lanes.setdefault(lane, deque())
            queue.append(pending)
            if len(queue) > 1:
                return
        self._ready.append(pending)
        self._work.set()

    def forget(self, number: int) -> None:
        """A link is closed. What is on its way is still published, for it may have been already."""
        for pending in list(self._flying.values()):
            if pending.number == number:
                pending.number = GONE

    def again(self) -> None:
        """Publish again what is not acknowledged: the connection was lost meanwhile."""
        flying = list(self._flying.values())
        self._flying.clear()
        self._ready.extendleft(reversed(flying))
        self._work.set()

    def headers(self, envelope: Envelope) -> dict[str, str]:
        """Return the header fields of an event that is published."""
        headers = headers_of(envelope, self._names.app)
        headers["Nats-Msg-Id"] = headers["ce-id"]
        headers["Nats-Expected-Stream"] = self._names.stream
        return headers

    async def _send(self, pending: Pending) -> None:
        envelope = pending.message.envelope
        self._tokens += 1
        token = self._tokens
        headers = self.headers(envelope)
        if pending.message.wants_result:
            headers["tl-reply-to"] = self._reply_to
        subject = self._names.subject(partition_for(envelope, self._partitions), envelope.route)
        if envelope.due is not None:
            headers["Nats-Schedule"] = f"@at {_time(envelope.due)}"
            headers["Nats-Schedule-Target"] = self._names.due
            headers["Nats-Expected-Stream"] = self._names.later_stream
            subject = self._names.later(envelope.id)
        pending.again = time.monotonic() + LATE
        self._flying[token] = pending
        await self._connection.publish(subject, envelope.data, reply=f"{self._inbox}.{token}", headers=headers)

    def _acknowledged(self, msg: Msg) -> None:
        pending = self._flying.pop(int(msg.subject.rpartition(".")[2]), None)
        if pending is None:
            return  # an answer that came late: it was published again
        if status_of(msg) is not None:  # no responders: a leader is elected, or JetStream starts
            self._later(pending, Refuse(pending.message.n, "failed", "JetStream does not answer"))
            return
        answer: dict[str, Any] = msgspec.json.decode(msg.data)
        error = answer.get("error")
        n = pending.message.n
        if error is None:
            self._over(pending, Confirm([n], bool(answer.get("duplicate", False))))
            return
        code, text = int(error.get("err_code", 0)), str(error.get("description", ""))
        if code == TOO_LARGE:
            self._over(pending, Refuse(n, "too large", text))
        elif code in FINAL:
            self._over(pending, Refuse(n, "failed", f"{FINAL[code]} ({text})"))
        else:
            self._later(pending, Refuse(n, "overloaded" if code == FULL else "failed", f"NATS: {text}"))

    def _later(self, pending: Pending, why: Refuse) -> None:
        pending.why = why
        now = time.monotonic()
        if now >= pending.deadline:
            self._over(pending, why)
        else:
            pending.again = min(now + AGAIN, pending.deadline)
            self._tokens += 1
            self._flying[self._tokens] = pending

    def _over(self, pending: Pending, answer: FromCarrier) -> None:
        if pending.number != GONE:
            self._answer(pending.number, answer)
        self._end(pending)

    async def _sweep(self) -> None:
        """Publish again what was not acknowledged in time. An id twice is stored once."""
        while True:
            await asyncio.sleep(SWEEP)
            now = time.monotonic()
            self._drop(now - SLACK)
            if not self._connection.is_connected:
                continue
            for token in [token for token, pending in self._flying.items() if pending.again <= now]:
                pending = self._flying.pop(token)
                self._ready.append(pending)
                self._work.set()

    def _drop(self, before: float) -> None:
        """Forget what was given up by its publisher, which says that it is not known to be stored."""
        for token in [token for token, pending in self._flying.items() if pending.deadline <= before]:
            self._end(self._flying.pop(token))
        for pending in [pending for pending in self._ready if pending.deadline <= before]:
            self._ready.remove(pending)
            self._end(pending)

    def _end(self, pending: Pending) -> None:
        """An event is over: the next of its key may go."""
        if pending.lane is not None:
            queue = self._lanes[pending.lane]
            queue.popleft()
            if queue:
                self._ready.append(queue[0])
            else:
                del self._lanes[pending.lane]
        if not self._flying and not self._ready:
            self.is_idle.set()
        self._work.set()


def _time(at: float) -> str:
    import datetime as dt  # noqa: PLC0415 - few events are delayed

    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat().replace("+00:00", "Z")


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
