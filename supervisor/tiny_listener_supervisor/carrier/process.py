"""The carrier process, from the fork to its exit: it stores published events, and delivers them to workers.

It has no application. Signals do not stop it, for they may be sent to the whole process group, and workers that drain
still settle events: it stops when the supervisor says so, or is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from tiny_listener.errors import CannotLoad
from tiny_listener.events import questions
from tiny_listener.net.loop import new_event_loop

from ..ipc.channel import Channel, ChannelClosed, DescriptorsLost, GarbledMessage, fitting
from ..ipc.messages import Dumped, Stop, TakeLog
from ..system.own_process import become_a_process_of_its_own, die_with_the_supervisor
from ..worker.heartbeat import LAG, PERIOD, REST, STAMP, Longest, lateness
from ..worker.process import dump_on_usr2
from .messages import (
    AnswerPart,
    Attach,
    Begin,
    CarrierFailed,
    CarrierReady,
    FromCarrier,
    LinkLost,
    Outbox,
    Parts,
    QuestionPart,
    ToCarrier,
    in_parts,
)

if TYPE_CHECKING:
    from tiny_listener.events.settings import EventSettings

    from ..system.logfile import LogFile
    from ..system.privileges import Identity

__all__ = ["MAX_ROWS", "CarrierPlan", "CarrierTerms", "Service", "answer_of", "carrier_main"]

logger = logging.getLogger("tiny_listener.carrier")

COLLECT = (20_000, 10, 100)
"""PERF: when garbage is collected. Events are in no cycles, and there may be a million of them to look through."""
BEAT = 0.5
"""Seconds between two heartbeats."""
MAX_ROWS = 2 * 2**20
"""Bytes of the dead letters in one answer: half of what an answer at the control socket may have."""
NOT_FOR_US = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Service(Protocol):
    """What the process runs: see `tiny_listener.events.service.EventService`."""

    def start(self, expected: Collection[int] = ()) -> None:
        """Open the store in the running loop, and begin to deliver.

        :raises CarrierError: the store cannot be opened
        """

    def attach(self, sock: socket.socket, slot: int) -> None:
        """Serve a worker."""

    async def answer(self, question: questions.Question) -> questions.Answer:
        """Answer an operator, once what it changes is stored."""

    async def close(self) -> None:
        """Store what was received, and close the store."""


@dataclass(frozen=True, slots=True)
class CarrierPlan:
    """What the carrier runs.

    :ivar settings: where events are stored, and how many
    :ivar identity: the user that it becomes, that of the workers; None: that of the supervisor
    :ivar log_file: the log file; None: it logs to stderr
    """

    settings: EventSettings
    identity: Identity | None = None
    log_file: LogFile | None = None


@dataclass(frozen=True, slots=True)
class CarrierTerms:
    """What the supervisor passes to the carrier at the fork.

    :ivar keep_fds: file descriptors that it may keep; all others belong to the supervisor
    :ivar shown: shared memory for its heartbeat, as that of a worker; see `worker.heartbeat`
    :ivar stacks: file descriptor of the memory for its stacks
    """

    channel: Channel[ToCarrier, FromCarrier]
    keep_fds: frozenset[int]
    supervisor_pid: int
    shown: memoryview[float]
    stacks: int


def carrier_main(plan: CarrierPlan, terms: CarrierTerms) -> None:
    """Run the carrier in a process that was just forked. Exits with SystemExit."""
    channel = terms.channel
    gc.set_threshold(*COLLECT)
    become_a_process_of_its_own(terms.keep_fds | {channel.fileno(), terms.stacks}, terms.supervisor_pid)
    for sig in NOT_FOR_US:
        signal.signal(sig, signal.SIG_IGN)
    dump_on_usr2(terms.stacks, lambda: _tell(channel, Dumped()))
    try:
        if plan.identity is not None:
            plan.identity.assume()
            die_with_the_supervisor(terms.supervisor_pid)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            code = runner.run(_Carrier(lambda: _service(plan.settings), terms, plan.log_file).run())
    except (CannotLoad, OSError) as exc:
        _tell(channel, CarrierFailed(fitting(" ".join(str(exc).split()))))
        raise SystemExit(1) from None
    except Exception as exc:
        logger.critical("The carrier failed", exc_info=exc)
        _tell(channel, CarrierFailed(fitting(" ".join(f"{type(exc).__name__}: {exc}".split()))))
        raise SystemExit(1) from None
    raise SystemExit(code)


async def _service(settings: EventSettings) -> Service:
    # Imported here: the supervisor needs neither the engine nor sqlite3.
    from tiny_listener.events.service import EventService  # noqa: PLC0415

    if settings.nats is None:
        return EventService(settings)
    from tiny_listener.nats.store import NatsStore  # noqa: PLC0415

    store = NatsStore(settings)
    await store.open()
    return EventService(settings, remote=store)


def _tell(channel: Channel[ToCarrier, FromCarrier], message: FromCarrier) -> None:
    with contextlib.suppress(ChannelClosed, OSError):
        channel.send(message)


class _Carrier:
    """Runs the service as the supervisor says.

    :param make_service: makes the service, in the running loop
    :param log_file: see `CarrierPlan`
    """

    def __init__(
        self, make_service: Callable[[], Awaitable[Service]], terms: CarrierTerms, log_file: LogFile | None
    ) -> None:
        self._make_service = make_service
        self._channel = terms.channel
        self._log_file = log_file
        self._service: Service | None = None
        self._starting: asyncio.Task[None] | None = None
        self._later: list[tuple[ToCarrier, list[int]]] = []
        self._questions = Parts(questions.Question)
        self._answering: set[asyncio.Task[None]] = set()
        self._beats = Beats(terms.shown)

    async def run(self) -> int:
        """Serve until the supervisor says stop, or is gone; return the exit code.

        :raises CarrierError: the store cannot be opened
        """
        loop = asyncio.get_running_loop()
        self._done: asyncio.Future[int] = loop.create_future()
        self._outbox: Outbox[ToCarrier, FromCarrier] = Outbox(self._channel)
        loop.add_reader(self._channel.fileno(), self._hear)
        try:
            code = await self._done
        finally:
            loop.remove_reader(self._channel.fileno())
        if self._service is not None:
            await self._service.close()
        return code

    def _hear(self) -> None:
        while not self._done.done():
            try:
                received = self._channel.receive()
            except DescriptorsLost as exc:
                logger.error("%s", exc)
                if isinstance(exc.message, Attach):
                    self._outbox.send(LinkLost(exc.message.pid))
                continue
            except ChannelClosed:  # the supervisor is gone, and the kernel kills this process by now or soon
                self._done.set_result(1)
                return
            except GarbledMessage as exc:
                logger.critical("The supervisor sent an invalid message (%s): the carrier exits", exc)
                self._done.set_result(1)
                return
            if received is None:
                return
            try:
                self._obey(*received)
            except Exception as exc:
                self._done.set_exception(exc)
                return

    def _obey(self, message: ToCarrier, fds: list[int]) -> None:
        match message:
            case Stop():
                if self._starting is not None:
                    self._starting.cancel()
                self._done.set_result(0)
            case Begin():
                self._starting = asyncio.ensure_future(self._begin(message))
            case _ if self._service is None:
                self._later.append((message, fds))
            case Attach():
                assert self._service is not None
                self._service.attach(socket.socket(fileno=fds[0]), message.slot)
            case QuestionPart():
                self._take_question(message)
            case TakeLog():
                if self._log_file is not None:
                    self._log_file.take(fds[0])

    async def _begin(self, begin: Begin) -> None:
        self._beats.start()
        try:
            service = await self._make_service()
            service.start(begin.expected)
            self._service = service
            later, self._later = self._later, []
            for message, fds in later:
                self._obey(message, fds)
        except Exception as exc:
            if not self._done.done():
                self._done.set_exception(exc)
            return
        self._outbox.send(CarrierReady())

    def _take_question(self, part: QuestionPart) -> None:
        try:
            question = self._questions.add(part)
        except msgspec.DecodeError as exc:
            self._send_answer(part.id, questions.Wrong(f"the carrier does not understand the question: {exc}"))
            return
        if question is not None:
            task = asyncio.ensure_future(self._answer(part.id, question))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, number: int, question: questions.Question) -> None:
        assert self._service is not None
        self._send_answer(number, await answer_of(self._service, question))

    def _send_answer(self, number: int, answer: questions.Answer) -> None:
        for one in in_parts(AnswerPart, number, answer):
            self._outbox.send(one)


async def answer_of(service: Service, question: questions.Question) -> questions.Answer:
    """Return the answer to a question; dead letters only as far as an answer has room for them."""
    try:
        answer = await service.answer(question)
    except Exception as exc:
        logger.exception("The carrier cannot answer %s", type(question).__name__)
        return questions.Wrong(f"the carrier cannot answer: {' '.join(f'{type(exc).__name__}: {exc}'.split())}")
    if not isinstance(answer, questions.DeadLetters):
        return answer
    size = 0
    rows: list[questions.DeadRow] = []
    for row in answer.rows:
        size += len(msgspec.json.encode(row))
        if rows and size > MAX_ROWS:
            return questions.DeadLetters(rows, more=True)
        rows.append(row)
    return answer


class Beats:
    """The heartbeat of the carrier: see `worker.heartbeat`.

    :param shown: the shared memory to write to
    """

    def __init__(self, shown: memoryview[float]) -> None:
        self._shown = shown
        self._longest = Longest()

    def start(self) -> None:
        """Start sending heartbeats in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._shown[STAMP] = time.monotonic()
        self._shown[REST] = BEAT - PERIOD
        self._beat()

    def _beat(self) -> None:
        now, shown = time.monotonic(), self._shown
        shown[LAG] = self._longest.add(lateness(shown[STAMP] + shown[REST], now), now)
        shown[STAMP] = now
        self._loop.call_later(BEAT, self._beat)
