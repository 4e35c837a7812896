"""The carrier: engine, store and the links to workers, on one event loop.

All that has arrived goes through the engine in one turn. Its operations are one transaction, and what workers are told
is sent after it: nothing is confirmed that is not stored, and the next event of a key starts only when it is stored
that the one before is settled.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, cast

from .clock import Clock
from .engine import Effects, Engine
from .engine.loading import drop
from .envelope import Envelope
from .link import Gone
from .links import Links
from .messages import FromCarrier, Hello, Publish, Refuse, ToCarrier, Welcome
from .operator import Operator
from .questions import Answer, Question
from .remote import Remote, leave_out, publish_elsewhere
from .settings import EventSettings
from .store.choice import open_store
from .store.ops import Count, Op, Store, StoreFailed
from .tidying import Tidying
from .transactions import Transactions

if TYPE_CHECKING:
    from .store.folder import Folder

__all__ = ["Clock", "EventService"]

logger = logging.getLogger("tiny_listener.carrier")

REMOTE: Final = -1
"""The number of the link of those whose requests came through a remote store."""
LAST_WRITE: Final = 10.0
"""Seconds that the last transaction may take."""
TRY_AGAIN: Final = 0.5
"""Seconds until a transaction is tried again that the store refused."""


class EventService:
    """Takes events from workers, stores them, and delivers each to a worker.

    :param settings: where and how many
    :param in_thread: whether transactions run in a thread, because the loop has other work too
    :param clock: the time, and when to look again; None: that of the system
    :param store: where the events are stored; None: as the settings say
    :param remote: a store that other servers share, which is open already; None: there is none
    """

    def __init__(
        self,
        settings: EventSettings,
        *,
        in_thread: bool = False,
        clock: Clock | None = None,
        store: Store | None = None,
        remote: Remote | None = None,
    ) -> None:
        self.remote: Final = remote
        self._settings: Final = settings
        self._own_clock: Final = clock
        self._own_store: Final = store
        self.transactions: Final = Transactions(self._ended, in_thread=in_thread)
        self.links: Final = Links(self._welcome, self._receive)
        self._inbox: list[tuple[int, list[Any] | Gone]] = []
        self._is_writing = False
        self._is_scheduled = False
        self._is_closing = self._is_closed = False
        self._stuck: Effects | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._written: asyncio.Future[None] | None = None
        self._folder: Folder | None = None
        self.failure: str | None = None
        self.counted: dict[str, bytes] = {}
        """The counters that are stored, by route, encoded. What a transaction has not stored yet a kill may take back,
        and a counter that goes back looks like a restart to Prometheus."""

    @property
    def name(self) -> str:
        """Where the events are stored, as in `--events`."""
        if self.remote is not None:
            return self.remote.name
        return "memory" if self._settings.folder is None else f"sqlite:{self._settings.folder}"

    def start(self, expected: Collection[int] = ()) -> None:
        """Open the store in the running loop, and begin to deliver.

        :param expected: slots whose workers may have events in flight of an earlier carrier of this server: nothing is
            delivered until each of them has registered, or its link is closed, or `Limits.lease` has passed
        :raises CarrierError: the store cannot be opened
        """
        self._loop = asyncio.get_running_loop()
        self.store: Store
        self.clock = self._own_clock or Clock()
        if self.remote is not None:
            self.store = cast("Store", self.remote)  # what may take long is awaited by `read`
        elif self._own_store is None:
            self.store, self._folder = open_store(self._settings)
        else:
            self.store = self._own_store
        self._tidying = Tidying(self.clock, self._tidy)
        now = self.clock()
        try:
            contents = self.store.load(now, self._settings.limits.dedup_window)
        except BaseException:
            self.store.close()
            self._unlock()
            raise
        self.counted = dict(contents.counts)
        self.engine = Engine(contents, self._settings.limits, now)
        self.engine.expect(expected, now)
        self.operator = Operator(self)
        if self.remote is not None:
            self.remote.serve(self)
        waiting = self.engine.state.number
        if waiting:
            logger.info("Events of an earlier run are waiting in %s: %d", self.name, waiting)
        self.wake()

    def _unlock(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.close()

    def _welcome(self) -> Welcome:
        return Welcome(self.store.id, self._settings.limits.max_event)

    # --- links ------------------------------------------------------------------------------------

    def attach(self, sock: socket.socket, slot: int) -> None:
        """Serve a worker.

        :param sock: our end of a connected pair (SOCK_STREAM)
        """
        self.links.attach(sock, slot)

    def _receive(self, number: int, messages: list[ToCarrier] | Gone) -> None:
        if isinstance(messages, Gone):
            if self.remote is not None:
                self.remote.forget(number)
        elif self._stuck is not None:
            messages = self._refuse(number, messages)
        elif self.remote is not None:
            messages = publish_elsewhere(self.remote, number, messages)
        self._inbox.append((number, messages))
        self.wake()

    async def unlinked(self) -> None:
        """Return when every worker has closed its link, and all that it said is heard."""
        await self.links.unlinked()

    def publish(self, message: Publish) -> None:
        """Take an event of an operator, who is told what becomes of it."""
        self._receive(0, [message])

    @property
    def is_busy(self) -> bool:
        """Whether something is in flight, or has arrived: what waits otherwise waits for time, or for an operator."""
        in_flight = any(member.in_flight for member in self.engine.schedule.members.values())
        return bool(in_flight or self._inbox or self._is_writing or self._is_scheduled)

    # --- a remote store ---------------------------------------------------------------------------

    def add(self, envelope: Envelope, seq: int, *, wants_result: bool) -> None:
        """An event has come, which the remote store keeps until it is settled.

        :param seq: its place in the order of storage
        """
        self.engine.add(envelope, seq, self.clock(), REMOTE if wants_result else None)
        self.wake()

    def drop(self, seqs: Collection[int], *, in_flight: bool) -> list[int]:
        """Forget events, which another server has from now on. Return those that are left.

        :param in_flight: also those in flight, which are cancelled; what their workers say of them is ignored
        """
        left = drop(self.engine.state, self.engine.admission, seqs, in_flight=in_flight)
        self.wake()
        return left

    def tell(self, number: int, message: FromCarrier) -> None:
        """Tell a publisher what became of its event."""
        self._send(Effects([], {number: [message]}, []))

    # --- turns ------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Take a turn soon."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self.turn)

    def turn(self) -> None:
        """Take what has arrived through the engine, write and send."""
        self._is_scheduled = False
        if self._is_writing or self._stuck is not None:
            return  # the end of the transaction comes back here
        engine, now = self.engine, self.clock()
        if self.remote is not None:
            engine.is_paused = not self.remote.is_sure
        inbox, self._inbox = self._inbox, []
        for number, messages in inbox:
            self._hear(number, messages, now)
        if self._due is not None and self._due <= now:
            engine.tick(now)
        elif inbox and engine.admission.waiting:
            engine.admission.tick(now)
        effects = engine.take(now)
        if effects.ops:
            self._write(effects)
        else:
            self._send(effects)
        self._arm()
        self._look()

    def _hear(self, number: int, messages: list[Any] | Gone, now: float) -> None:
        if isinstance(messages, Gone):
            if number not in self.engine.schedule.members:
                self.engine.not_expected(messages.slot)
            self.engine.leave(number, now)
            return
        for message in messages:
            if type(message) is Publish:
                self.clock.translate(message.envelope)
            elif type(message) is Hello and message.store_id not in (None, self.store.id):
                message.holds.clear()  # they are of another store, which is gone
        self.engine.hear(number, messages, now)

    def _arm(self) -> None:
        """Take the next turn when something falls due."""
        due = self.engine.next_due()
        if due == self._due and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = None if due is None else self.clock.call_at(due, self._fall_due)

    def _fall_due(self) -> None:
        self._timer = None
        self.wake()

    def _send(self, effects: Effects) -> None:
        sends = effects.sends
        if (told := sends.pop(0, None)) is not None:
            self.operator.told(told)
        if self.remote is not None and (results := sends.pop(REMOTE, None)) is not None:
            self.remote.results(results)
        self.links.send(sends)

    # --- transactions -----------------------------------------------------------------------------

    def _write(self, effects: Effects) -> None:
        self._is_writing = True
        if self.remote is not None:
            self.transactions.write_elsewhere(self.remote, effects)
        else:
            self.transactions.write(self.store, effects)

    def _ended(self, effects: Effects, error: StoreFailed | None) -> None:
        """A transaction has ended."""
        self._is_writing = False
        if self.remote is not None:
            leave_out(effects, self.engine.state.entries)
        if error is None:
            self._has_written(effects)
        elif effects.stored:
            # Without the new events there is less to write, and what is settled makes room.
            self._has_failed(error)
            rest = self.engine.withdraw(effects, str(error))
            self._send_refusals(rest)
            self.wake()  # for what has arrived meanwhile, and for what may start in place of what was withdrawn
            if all(isinstance(op, Count) for op in rest.ops):
                self._count(rest.ops)  # not stored, but what fails while the disk is full is to be seen
                self._send(rest)
            else:
                self._write(rest)
        else:
            self._has_failed(error)
            self._stuck = effects
            self._refuse_waiting()
            if self._written is not None:
                self._written.set_exception(error)
                self._written = None
            self._loop.call_later(TRY_AGAIN, self._try_again)
        self._look()

    def _has_written(self, effects: Effects) -> None:
        if self.failure is not None and effects.stored:
            logger.info("The store %s can write again", self.name)
            self.failure = None
        self._count(effects.ops)
        self._send(effects)
        self._tidying.has_written()
        if self._inbox or self.transactions.takes_time:
            self.wake()

    def _count(self, ops: list[Op]) -> None:
        """Keep the counters of a transaction, which are its last operations."""
        for op in reversed(ops):
            if not isinstance(op, Count):
                break
            self.counted[op.route] = op.values

    def _has_failed(self, error: StoreFailed) -> None:
        if self.failure is None:
            logger.error("The store %s cannot write: %s; publishing fails until it can", self.name, error)
        self.failure = str(error)

    def _send_refusals(self, effects: Effects) -> None:
        """Tell publishers at once; what else the transaction would confirm waits until it is written."""
        refusals: dict[int, list[FromCarrier]] = {}
        for number, messages in effects.sends.items():
            refusals[number] = [message for message in messages if type(message) is Refuse]
            messages[:] = [message for message in messages if type(message) is not Refuse]
        self._send(Effects([], refusals, []))

    def _try_again(self) -> None:
        if self._is_closed:
            return
        effects, self._stuck = self._stuck, None
        if effects is not None:
            self._write(effects)

    def _refuse_waiting(self) -> None:
        self._inbox = [
            (number, messages if isinstance(messages, Gone) else self._refuse(number, messages))
            for number, messages in self._inbox
        ]

    def _refuse(self, number: int, messages: list[Any]) -> list[Any]:
        """Refuse what is published while the store cannot write. Return the other messages."""
        why = self.failure or "the store cannot write"
        refused: list[FromCarrier] = [
            Refuse(message.n, "failed", why) for message in messages if type(message) is Publish
        ]
        self._send(Effects([], {number: refused} if refused else {}, []))
        return [message for message in messages if type(message) is not Publish]

    def _tidy(self, now: float) -> None:
        if self._is_writing or self._stuck is not None:
            return  # the end of the transaction comes back to it
        self.transactions.do_later(self.store.tidy, now)

    # --- operators, and the end -------------------------------------------------------------------

    async def answer(self, question: Question) -> Answer:
        """Answer an operator, once what it changes is stored."""
        return await self.operator.answer(question)

    async def read(self, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Read from the store, where its transactions run too."""
        return await self.transactions.read(work, *args, **options)

    async def written(self) -> None:
        """Return when all that the engine was told is stored.

        :raises StoreFailed: the store cannot write by now
        """
        if self._stuck is not None:
            raise StoreFailed(self.failure or "the store cannot write")
        self.wake()
        if self._written is None:
            self._written = self._loop.create_future()
        await self._written

    def _look(self) -> None:
        if self._written is not None and not (self._is_writing or self._is_scheduled or self._stuck or self._inbox):
            self._written.set_result(None)
            self._written = None

    async def close(self) -> None:
        """Store what was received, and close the store."""
        if self._is_closing:
            return
        self._is_closing = True
        try:
            async with asyncio.timeout(LAST_WRITE):
                await self.written()
        except StoreFailed as exc:
            logger.error("What was settled last is not stored, and will come again: %s", exc)
        except TimeoutError:
            logger.error("What was settled last is not known to be stored: %s does not answer", self.name)
        self.links.close()
        self._tidying.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._is_closed = True
        await self.read(self.store.close)
        self._unlock()
        self.transactions.close()
