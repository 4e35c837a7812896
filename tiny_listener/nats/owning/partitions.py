"""The partitions that this server owns: it takes those that it should have, and releases the others.

To own a partition is to have its consumer. The NATS server admits one for each filter of a work queue, so there is
never a second owner: a partition is taken over by deleting the consumer of the owner, which is fenced by that.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Collection
from enum import Enum
from typing import Any, Final

from ...events.settings import Limits
from ..connection import ApiError, Connection, Unavailable
from ..names import Names, owner_of
from .members import Members

__all__ = ["Hold", "Partitions"]

logger = logging.getLogger("tiny_listener.carrier")

LOOK: Final = 0.5
"""Seconds until the partitions are looked at again, when something is to be done."""
QUIET: Final = 5.0
"""Seconds between two looks, when nothing is."""
PAGE: Final = 1024
"""Names of consumers in one answer."""
ACK_WAIT: Final = 24 * 3600
"""Seconds until the server would deliver again what is not acknowledged: never, for that would break the order."""
RUBBISH: Final = 3600
"""Seconds after which the server deletes a consumer that nobody uses."""
MOST_PENDING: Final = 8192
"""Events of a partition that are delivered and not acknowledged."""
SECOND: Final = 1_000_000_000
NOT_FOUND: Final = (10014, 10059)
NOT_UNIQUE: Final = (10100, 10148, 10013, 10105)
"""A consumer of this partition exists, or one of this name."""


class Hold(Enum):
    """What this server does with a partition."""

    OWNED = "owned"
    """Its events are pulled."""
    RELEASING = "releasing"
    """Nothing is started, and what is in flight ends."""


class Partitions:
    """Takes and releases partitions.

    :param limits: of the engine
    :param members: the servers there are
    :param on_owned: called with a partition and the name of its consumer
    :param on_renewed: called with a partition whose consumer is another one now, and the name of that
    :param on_release: called with a partition of which nothing may be started any more
    :param is_settled: whether nothing of a partition is in flight
    :param on_gone: called with a partition whose consumer was deleted by us
    :ivar consumers: the name of the consumer of each partition that is owned, or being released
    """

    def __init__(  # noqa: PLR0917 - parts of one whole
        self,
        connection: Connection,
        names: Names,
        limits: Limits,
        members: Members,
        on_owned: Callable[[int, str], None],
        on_renewed: Callable[[int, str], None],
        on_release: Callable[[int], None],
        is_settled: Callable[[int], bool],
        on_gone: Callable[[int], None],
    ) -> None:
        self._connection: Final = connection
        self._names: Final = names
        self._limits: Final = limits
        self._members: Final = members
        self._on_owned: Final = on_owned
        self._on_renewed: Final = on_renewed
        self._on_release: Final = on_release
        self._is_settled: Final = is_settled
        self._on_gone: Final = on_gone
        self.consumers: Final[dict[int, str]] = {}
        self._holds: Final[dict[int, Hold]] = {}
        self._work: Final = asyncio.Event()
        self._is_leaving = False
        self.moves = 0
        """Partitions taken, released and lost since the start."""

    @property
    def owned(self) -> Collection[int]:
        """The partitions whose events are started here."""
        return [partition for partition, hold in self._holds.items() if hold is Hold.OWNED]

    def look(self) -> None:
        """Look at the partitions soon: something has changed."""
        self._work.set()

    async def run(self) -> None:
        """Take and release partitions until cancelled."""
        while True:
            is_quiet = False
            if self._connection.is_connected:
                try:
                    is_quiet = await self._round()
                except (Unavailable, ApiError) as exc:
                    logger.warning("The partitions cannot be looked at: %s", exc)
            pause = QUIET if is_quiet else LOOK * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            try:
                async with asyncio.timeout(pause):
                    await self._work.wait()
            except TimeoutError:
                pass
            self._work.clear()

    async def _round(self) -> bool:
        """Do what can be done. Return whether all is as it should be."""
        alive = self._members.alive(time.monotonic())
        hosts = alive if not self._is_leaving else frozenset()
        count, host = self._limits.partitions, self._members.host
        wanted = {partition for partition in range(count) if owner_of(partition, hosts) == host}
        for partition in [one for one, hold in self._holds.items() if hold is Hold.OWNED and one not in wanted]:
            self._holds[partition] = Hold.RELEASING
            self._on_release(partition)
        await asyncio.gather(*(self._let_go(one) for one, hold in list(self._holds.items()) if hold is Hold.RELEASING))
        missing = wanted - set(self._holds)
        if missing:
            await self._take(missing)
        return not missing and Hold.RELEASING not in self._holds.values()

    async def _let_go(self, partition: int) -> None:
        consumer = self.consumers.get(partition)
        if consumer is None or not self._is_settled(partition):
            return
        await self._delete(consumer)
        if self.consumers.get(partition) == consumer:
            self.lose(partition)
            self._on_gone(partition)

    async def _take(self, missing: set[int]) -> None:
        theirs = await self._others()
        now = time.monotonic()
        able: list[tuple[int, str | None]] = []
        for partition in missing:
            found = theirs.get(partition)
            if found is None:
                able.append((partition, None))
                continue
            consumer, host = found
            # That of our own name is of an earlier carrier of this server, which is dead: it would not let us start.
            if host == self._members.host or self._members.is_dead(host, now):
                able.append((partition, consumer))
        await asyncio.gather(*(self._take_one(partition, consumer) for partition, consumer in able))

    async def _take_one(self, partition: int, old: str | None) -> None:
        if old is not None:
            await self._delete(old)
        name = await self._create(partition)
        if name is None:
            return  # somebody else was faster: the next look shows who
        self._holds[partition] = Hold.OWNED
        self.consumers[partition] = name
        self.moves += 1
        self._on_owned(partition, name)

    async def _create(self, partition: int) -> str | None:
        """Create the consumer of a partition; return its name, or None if that cannot be by now."""
        epoch = f"{time.time_ns():x}{secrets.token_hex(2)}"
        name = self._names.consumer(partition, epoch, self._members.host)
        config: dict[str, Any] = {
            "durable_name": name,
            "filter_subject": self._names.filter(partition),
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": ACK_WAIT * SECOND,
            "max_deliver": -1,
            "max_ack_pending": MOST_PENDING,
            "inactive_threshold": RUBBISH * SECOND,
        }
        stream = self._names.stream
        try:
            body = {"stream_name": stream, "config": config}
            await self._connection.api(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", body)
        except ApiError as exc:
            if exc.code not in NOT_UNIQUE:
                logger.warning("The partition %d cannot be taken: %s", partition, exc)
            return None
        except Unavailable:
            return name if await self._exists(name) else None
        return name

    async def renew(self) -> None:
        """Make the consumers of all that is ours again."""
        owned = [(one, name) for one, name in self.consumers.items() if self._holds[one] is Hold.OWNED]
        await asyncio.gather(*(self._renew(partition, name) for partition, name in owned))

    async def _renew(self, partition: int, old: str) -> bool:
        """Make the consumer of a partition again. Return False if somebody else has, or it is not known.

        :param old: its name, or that of one of ours that was made without our knowledge; empty: there is none
        """
        try:
            if old:
                await self._delete(old)
            name = await self._create(partition)
        except (ApiError, Unavailable) as exc:
            logger.warning("The partition %d cannot be taken again by now: %s", partition, exc)
            return False  # the next look goes on
        if name is None:
            return False
        if partition in self.consumers:
            self.consumers[partition] = name
            self._on_renewed(partition, name)
        return True

    async def _exists(self, consumer: str) -> bool:
        """Whether a consumer is there: what timed out may have worked."""
        try:
            await self._connection.api(f"CONSUMER.INFO.{self._names.stream}.{consumer}")
        except (ApiError, Unavailable):
            return False
        return True

    async def _delete(self, consumer: str) -> None:
        try:
            await self._connection.api(f"CONSUMER.DELETE.{self._names.stream}.{consumer}")
        except ApiError as exc:
            if exc.code not in NOT_FOUND:
                raise

    async def _others(self) -> dict[int, tuple[str, str]]:
        """Return the consumers there are: by partition, its name and the server that created it."""
        found: dict[int, tuple[str, str]] = {}
        offset = 0
        while True:
            answer = await self._connection.api(f"CONSUMER.NAMES.{self._names.stream}", {"offset": offset})
            names = answer.get("consumers") or []
            for name in names:
                owned = self._names.owned(name)
                if owned is not None:
                    found[owned.partition] = name, owned.host
            offset += len(names)
            if not names or offset >= int(answer.get("total", 0)):
                return found

    def lose(self, partition: int) -> str | None:
        """A partition is not ours any more. Return the name of its consumer; None: it was not ours."""
        self._holds.pop(partition, None)
        self.moves += 1
        self._work.set()
        return self.consumers.pop(partition, None)

    async def inspect(self) -> tuple[list[int], bool]:
        """Look at what is ours. Return the partitions that are not any more, and whether all is clear.

        A consumer that is gone, while nobody else has one, is made again: what is in flight need not be stopped.

        :raises Unavailable: that cannot be told by now
        """
        ours = dict(self.consumers)
        theirs = await self._others()
        stolen, gone = [], []
        for partition, name in ours.items():
            if self.consumers.get(partition) != name:
                continue  # taken or lost while the answer was on its way, which does not tell of that
            found, host = theirs.get(partition, ("", ""))
            if found == name:
                continue
            if host not in ("", self._members.host) or self._holds[partition] is Hold.RELEASING:
                stolen.append(partition)
            else:
                gone.append((partition, found))
        renewed = await asyncio.gather(*(self._renew(partition, found) for partition, found in gone))
        return stolen, all(renewed)

    async def leave(self, patience: float) -> None:
        """Release all, as far as what is in flight ends in time.

        :param patience: seconds
        """
        self._is_leaving = True
        until = time.monotonic() + patience
        while self._holds and time.monotonic() < until:
            try:
                await self._round()
            except (Unavailable, ApiError):
                return
            if self._holds:
                await asyncio.sleep(0.05)
