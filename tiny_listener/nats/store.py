"""The events of this server on NATS: pulled from its partitions, and acknowledged when they are settled."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..errors import CarrierError
from ..events.engine.letters import REDRIVEN, as_new
from ..events.envelope import Envelope
from ..events.messages import FromCarrier, Publish
from ..events.settings import EventSettings
from ..events.store.ops import Contents, DeadLetter, Delete, DropDead, Op, SetHalted, ToDead
from .asking import Asking
from .connection import ApiError, Connection, Msg, Unavailable
from .dead import NO_MESSAGE, DeadStream, Foreign
from .halted import HaltedKeys
from .later import Later
from .names import Names, host_token
from .owning.acks import Acks
from .owning.fence import Fence
from .owning.members import Members
from .owning.partitions import Partitions
from .owning.presence import Presence
from .owning.pulls import Pulls
from .publisher import Publisher, partition_for
from .requests import REPLY_TO, Requests
from .streams import SCHEDULES, open_streams
from .tasks import Tasks
from .wire import NoEvent, envelope_of

if TYPE_CHECKING:
    from ..events.service import EventService

__all__ = ["NatsStore"]

logger = logging.getLogger("tiny_listener.carrier")

LEAVING: Final = 5.0
"""Seconds for releasing the partitions at the end."""


class Held(msgspec.Struct):
    """An event of ours that is not settled.

    :ivar reply: the subject for its acknowledgement
    """

    partition: int
    reply: str


class NatsStore:
    """Implements `Remote`.

    :param settings: with those of NATS
    """

    def __init__(self, settings: EventSettings) -> None:
        assert settings.nats is not None
        self._settings: Final = settings
        self._nats: Final = settings.nats
        self.names: Final = Names(self._nats.app)
        self.id = f"nats:{self._nats.app}"
        self.name = f"nats:{self._nats.app}"
        self._host: Final = host_token(self._nats.host)
        self.members: Final = Members(self._host, secrets.token_hex(8), time.monotonic())
        self._tasks: Final = Tasks()
        self.connection: Final = Connection(self._nats, self._reconnected)
        self._asking: Final = Asking(self.connection)
        self.dead: Final = DeadStream(self.connection, self.names, self._asking.publish)
        self.halted: Final = HaltedKeys(self.connection, self.names, self._asking.publish, self._halt)
        self.acks: Final = Acks(self.connection, self._may_be_lost)
        self.pulls: Final = Pulls(self.connection, self.names, self._came, self._may_be_lost, self._consumer_of)
        self.partitions: Final = Partitions(
            self.connection,
            self.names,
            settings.limits,
            self.members,
            on_owned=self._owned,
            on_renewed=self._renewed,
            on_release=self._release,
            is_settled=self._is_settled,
            on_gone=self.pulls.stop,
        )
        self.publisher: Final = Publisher(
            self.connection, self.names, settings.limits.partitions, self._tell, self.names.inbox(self._host)
        )
        self._later: Final = Later(self.connection, self.names, self._asking, self._destination)
        self._presence: Final = Presence(
            self.connection, self.names.members, self.members, self.partitions.look, self._tasks.spawn
        )
        self._held: Final[dict[int, Held]] = {}
        self._fence: Final = Fence(self.connection, self._check, self._deafen, self._stop)
        self.requests: Final = Requests(self.connection, self._tell, self._tasks.spawn)
        self._contents = Contents()
        self._service: EventService | None = None

    # --- the start and the end --------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and create or check the streams.

        :raises CarrierError: that cannot be
        """
        await self.connection.open()
        try:
            limits, replicas = self._settings.limits, self._nats.replicas
            await open_streams(self.connection, self.names, limits, replicas)
            if self.connection.max_payload < limits.max_event:
                raise CarrierError(
                    f"The NATS server takes messages of {self.connection.max_payload} bytes, and events may have "
                    f"{limits.max_event}: raise max_payload in nats.conf"
                )
            await self._asking.open()
            if self.connection.version >= SCHEDULES:
                await self._later.open()
            await self.connection.subscribe(self.names.inbox(self._host), self.requests.take)
            await self._presence.meet(self._nats.host)
            await self.halted.open()
            self._contents = Contents(dead=await self.dead.counts(), halted=self.halted.by_key())
        except (ApiError, Unavailable) as exc:
            await self.connection.close()
            raise CarrierError(f"JetStream of NATS cannot be used: {exc}") from None
        except CarrierError:
            await self.connection.close()
            raise

    def load(self, now: float, dedup_window: float) -> Contents:
        """See `Remote`."""
        return self._contents

    def serve(self, service: EventService) -> None:
        """See `Remote`."""
        self._service = service
        for work in (self.publisher, self.acks, self.pulls, self.partitions, self._fence):
            self._tasks.keep(work.run)
        if self.connection.version >= SCHEDULES:
            self._tasks.keep(self._later.run)
        self._tasks.keep(self._presence.run)

    async def close(self) -> None:
        """See `Remote`."""
        if self.connection.is_connected:
            try:
                async with asyncio.timeout(LEAVING):
                    await self.publisher.is_idle.wait()
            except TimeoutError:
                logger.error("Events on their way to NATS are not known to be stored")
            await self.partitions.leave(LEAVING)
            await self._presence.beat(leaves=True)
        self._tasks.cancel()
        await self.connection.close()

    # --- whether what is here is still ours -------------------------------------------------------

    @property
    def failure(self) -> str | None:
        """See `Remote`."""
        if not self.connection.is_connected:
            return "there is no connection to NATS"
        return None if self.is_sure else "NATS does not answer"

    @property
    def partitions_owned(self) -> int:
        """See `Remote`."""
        return len(self.partitions.owned)

    @property
    def is_sure(self) -> bool:
        """See `Remote`."""
        return self._fence.is_sure

    def _may_be_lost(self) -> None:
        self._fence.doubt()

    def _deafen(self) -> None:
        self.members.was_deaf(time.monotonic())

    async def _check(self) -> bool:
        """Look at which consumers are still ours, and give up the events of the others."""
        try:
            stolen, is_clear = await self.partitions.inspect()
        except (Unavailable, ApiError):
            return False
        for partition in stolen:
            logger.warning("The partition %d is at another server: its events in flight are stopped", partition)
            self._lose(partition)
        if self._service is not None:
            self._service.wake()
        return is_clear

    def _stop(self) -> None:
        """Others may have all of it."""
        for partition in list(self.partitions.consumers):
            self._lose(partition)  # if nobody has taken it, it is taken again, with a consumer that knows nothing

    def _lose(self, partition: int) -> None:
        """Another server has a partition."""
        consumer = self.partitions.lose(partition)
        if consumer is None:
            return
        self.pulls.stop(partition)
        self._drop(partition, in_flight=True)

    def _renewed(self, partition: int, consumer: str) -> None:
        """A partition has another consumer, which delivers again what is not acknowledged."""
        seqs = [seq for seq in self.acks.unconfirmed if self._held[seq].partition == partition]
        self.acks.suspend(seqs)
        self.pulls.stop(partition)
        self.pulls.ask(partition, consumer)
        self._tasks.spawn(self._see_what_is_settled(seqs))

    async def _see_what_is_settled(self, seqs: list[int]) -> None:
        for seq in seqs:
            if not await self._is_stored(seq):
                self.acks.give_up([seq])

    async def _is_stored(self, seq: int) -> bool:
        """Whether the stream has an event: without it, an acknowledgement was carried out."""
        while True:
            try:
                await self.connection.api(f"STREAM.MSG.GET.{self.names.stream}", {"seq": seq})
            except ApiError as exc:
                return exc.code != NO_MESSAGE
            except Unavailable:
                if not self.connection.is_connected:
                    return True  # the next reconnect asks again
                await asyncio.sleep(0.1)
            else:
                return True

    async def _reconnected(self, is_new: bool) -> None:
        self._deafen()
        await self._presence.beat()
        if is_new:  # its consumers may have forgotten what they delivered
            await self.partitions.renew()
        await self._fence.look()
        self.publisher.again()
        await self.acks.again()
        self.pulls.again()
        self._later.again()
        for partition, consumer in self.partitions.consumers.items():
            if not self.pulls.has(partition) and partition in self.partitions.owned:
                self.pulls.ask(partition, consumer)

    # --- partitions -------------------------------------------------------------------------------

    def _consumer_of(self, partition: int) -> str | None:
        return self.partitions.consumers.get(partition)

    def _owned(self, partition: int, consumer: str) -> None:
        self.pulls.ask(partition, consumer)

    def _release(self, partition: int) -> None:
        self.pulls.stop(partition)
        self._drop(partition, in_flight=False)

    def _drop(self, partition: int, *, in_flight: bool) -> None:
        assert self._service is not None
        seqs = [seq for seq, held in self._held.items() if held.partition == partition]
        left = set(self._service.drop(seqs, in_flight=in_flight))
        if in_flight:
            self.acks.give_up(seqs)
        else:
            left |= {seq for seq in seqs if seq in self.acks.unconfirmed}
        for seq in seqs:
            if seq not in left:
                self._held.pop(seq, None)
                self.requests.drop(seq)

    def _is_settled(self, partition: int) -> bool:
        return not any(held.partition == partition for held in self._held.values())

    def _came(self, partition: int, seq: int, msg: Msg) -> None:
        """An event of one of our partitions has come."""
        assert self._service is not None
        if (held := self._held.get(seq)) is not None:
            held.reply = msg.reply  # it was delivered again: by a new consumer
            if seq in self.acks.unconfirmed:
                self._tasks.spawn(self.acks.delivered_again(seq, msg.reply))
            return
        try:
            envelope = envelope_of(msg.headers, msg.data)
        except NoEvent as exc:
            self._tasks.spawn(self._put_aside(Foreign(seq, msg.subject, str(exc)), msg))
            return
        self._held[seq] = Held(partition, msg.reply)
        reply_to = (msg.headers or {}).get(REPLY_TO)
        if reply_to is not None:
            self.requests.handle(seq, reply_to, envelope.id)
        self._service.add(envelope, seq, wants_result=reply_to is not None)

    async def _put_aside(self, foreign: Foreign, msg: Msg) -> None:
        logger.error("A message of %s is no event of ours, and is a dead letter: %s", foreign.subject, foreign.why)
        await self.dead.keep_foreign(foreign, msg)
        await self.connection.publish(msg.reply, b"+ACK")

    # --- what the carrier says --------------------------------------------------------------------

    def _tell(self, number: int, message: FromCarrier) -> None:
        assert self._service is not None
        self._service.tell(number, message)

    def publish(self, number: int, message: Publish) -> None:
        """See `Remote`."""
        if message.wants_result:
            self.requests.ask(message.envelope.id, number, message.n)
        self.publisher.publish(number, message)

    def forget(self, number: int) -> None:
        """See `Remote`."""
        self.publisher.forget(number)
        self.requests.forget(number)

    def results(self, messages: Iterable[FromCarrier]) -> None:
        """See `Remote`."""
        self.requests.answer(messages)

    async def write(self, ops: list[Op]) -> None:
        """See `Remote`."""
        self.requests.keep(self._held)
        replies: dict[int, str] = {}
        numbers: dict[int, int] = {}
        for op in ops:
            match op:
                case Delete():
                    self._take_reply(op.seq, replies)
                case ToDead():
                    numbers[op.letter.number] = await self.dead.keep(op.letter)
                    if op.seq is not None:
                        self._take_reply(op.seq, replies)
                case SetHalted(number=None):
                    await self.halted.delete(op.key)
                case SetHalted(number=int(number)):
                    await self.halted.put(op.key, numbers.get(number, number))
                case DropDead():
                    await self.dead.drop(op.number)
        await self.acks.settle(replies)

        for seq in replies:
            self._held.pop(seq, None)

    def _take_reply(self, seq: int, replies: dict[int, str]) -> None:
        held = self._held.get(seq)
        if held is not None:  # else its partition was lost meanwhile
            replies[seq] = held.reply

    def _halt(self, key: str, number: int | None) -> None:
        if self._service is not None:
            self._service.engine.letters.know(key, number)
            self._service.wake()

    async def dead_letters(self, **options: Any) -> list[DeadLetter]:
        """See `Remote`."""
        return await self.dead.letters(**options)

    async def put_back(self, letter: DeadLetter) -> None:
        """See `Remote`."""
        envelope = as_new(letter.envelope)
        subject, headers = self._destination(envelope)
        headers["Nats-Msg-Id"] += f" {envelope.attributes[REDRIVEN]}"
        await self._asking.publish(subject, envelope.data, headers)
        await self.dead.drop(letter.number)

    def _destination(self, envelope: Envelope) -> tuple[str, dict[str, str]]:
        partition = partition_for(envelope, self._settings.limits.partitions)
        return self.names.subject(partition, envelope.route), self.publisher.headers(envelope)

    async def dead_counts(self) -> dict[str, int]:
        """See `Remote`."""
        return await self.dead.counts()

    async def last_dead(self) -> int:
        """See `Remote`."""
        return await self.dead.last()

    async def size(self, unsettled: int) -> int:
        """See `Remote`: the bytes of the whole stream."""
        try:
            info = await self.connection.api(f"STREAM.INFO.{self.names.stream}")
        except (Unavailable, ApiError):
            return unsettled
        return int(info["state"]["bytes"])

    def tidy(self, now: float) -> None:
        """Do nothing."""
