"""Answers what operators ask the carrier, and does what they say about dead letters."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from ..errors import CarrierError
from .counters import RouteCounters, decode_counters
from .messages import Confirm, Publish, Refuse
from .questions import (
    Answer,
    AskDead,
    AskDiscard,
    AskHalted,
    AskPublish,
    AskRedrive,
    AskSkip,
    AskView,
    DeadLetters,
    DeadRow,
    Halted,
    HaltedKey,
    Number,
    Question,
    RouteView,
    Stored,
    View,
    Wrong,
)
from .store.ops import DeadLetter, StoreFailed

if TYPE_CHECKING:
    from .remote import Remote
    from .service import EventService

__all__ = ["Operator", "row_of"]

logger = logging.getLogger("tiny_listener.carrier")

PAGE: Final = 100
"""Dead letters that are read at a time."""
PROMPT: Final = 1.5
"""Seconds until an operator is answered that letters will be put back when there is room for them."""
PATIENCE: Final = 0.1
"""Seconds until there may be room again for an event that is put back."""


class Operator:
    """Answers questions about a carrier.

    :param service: the carrier
    """

    def __init__(self, service: EventService) -> None:
        self._service: Final = service
        self._asked: dict[int, asyncio.Future[Confirm | Refuse]] = {}
        self._next = 0
        self._redriving: asyncio.Task[None] | None = None
        self._gone: set[int] = set()
        self._answers: dict[type, Callable[[Any], Awaitable[Answer]]] = {
            AskView: self._view,
            AskDead: self._dead,
            AskRedrive: self._redrive,
            AskDiscard: self._discard,
            AskHalted: self._halted,
            AskSkip: self._skip,
            AskPublish: self._publish,
        }

    async def answer(self, question: Question) -> Answer:
        """Answer a question, once what it changes is stored."""
        try:
            return await self._answers[type(question)](question)
        except (CarrierError, StoreFailed) as exc:
            return Wrong(str(exc))

    # --- what there is ----------------------------------------------------------------------------

    async def _view(self, _: AskView) -> View:
        service, engine, remote = self._service, self._service.engine, self._service.remote
        state, now, dead = engine.state, service.clock(), engine.letters.by_reason
        with contextlib.suppress(CarrierError):
            dead = await self._by_reason()
        members = engine.schedule.members.values()
        in_flight: dict[int, int] = {}
        for member in members:
            in_flight[member.slot] = in_flight.get(member.slot, 0) + len(member.in_flight)
        oldest = next(iter(state.entries.values()), None)
        routes = [RouteView(route, self._counters(route)) for route in sorted(service.counted)]
        return View(
            waiting=state.number - sum(in_flight.values()),
            delayed=len(state.delayed),
            retries=len(state.retrying),
            in_flight=in_flight,
            oldest=None if oldest is None else max(0.0, now - oldest.envelope.published_at),
            dead={reason: number for reason, number in dead.items() if number},
            halted=len(engine.letters.halted),
            store=service.name,
            store_bytes=await service.read(service.store.size, service.engine.state.size),
            failure=service.failure if remote is None else remote.failure,
            routes=routes,
            commits=service.transactions.number,
            commit_seconds=service.transactions.seconds,
            partitions=None if remote is None else remote.partitions_owned,
        )

    def _counters(self, route: str) -> RouteCounters:
        """Return the counters of a route as they are stored, with the unsettled events that there are now."""
        counters = decode_counters(self._service.counted[route])
        now = self._service.engine.state.counters.by_route.get(route)
        counters.unsettled = 0 if now is None else now.unsettled
        return counters

    async def _dead(self, asked: AskDead) -> DeadLetters:
        letters = await self._letters(asked.reason, asked.id, asked.after, asked.limit + 1)
        return DeadLetters([row_of(letter) for letter in letters[: asked.limit]], len(letters) > asked.limit)

    async def _letters(
        self,
        reason: str | None,
        id: str | None,  # noqa: A002
        after: int = 0,
        limit: int = PAGE,
    ) -> list[DeadLetter]:
        read = self._service.store.dead_letters
        found: list[DeadLetter] = await self._service.read(read, reason=reason, after=after, limit=limit, id=id)
        return [letter for letter in found if letter.number not in self._gone]

    async def _halted(self, _: AskHalted) -> Halted:
        keys = []
        for key, number in sorted(self._service.engine.letters.halted.items()):
            letters = await self._letters(None, None, number - 1, 1)
            lane = self._service.engine.schedule.lanes.get(key)
            waiting = lane.waiting if lane is not None else 0
            is_kept = letters and letters[0].number == number  # a store in memory drops letters when it has many
            keys.append(HaltedKey(key, letters[0].envelope.id if is_kept else "", waiting))
        return Halted(keys)

    # --- what to do -------------------------------------------------------------------------------

    async def _redrive(self, asked: AskRedrive) -> Answer:
        if asked.rate is not None and not asked.rate > 0:
            return Wrong(f"--rate takes events in a second, above 0, not {asked.rate:g}")
        if self._redriving is not None and not self._redriving.done():
            return Wrong("dead letters are being put back already: wait until that has ended")
        number = await self._number(asked)
        if not number and asked.id is not None:
            return Wrong(f"no dead letter has the id {asked.id!r}")
        self._redriving = asyncio.ensure_future(self._put_back(asked))
        if asked.rate is None:
            await asyncio.wait({self._redriving}, timeout=PROMPT)
        if self._redriving.done():
            self._redriving.result()
            return Number(number)
        self._redriving.add_done_callback(_log)
        return Number(number, is_done=False)

    async def _number(self, asked: AskRedrive) -> int:
        if asked.id is not None:
            return len(await self._letters(asked.reason, asked.id))
        by_reason = await self._by_reason()
        return sum(number for reason, number in by_reason.items() if asked.reason in (None, reason))

    async def _put_back_elsewhere(self, remote: Remote, asked: AskRedrive) -> None:
        """Put back the letters that there are now."""
        letters, after, until = self._service.engine.letters, 0, await remote.last_dead()
        while found := await self._letters(asked.reason, asked.id, after):
            for letter in found:
                if letter.number > until:
                    return
                await remote.put_back(letter)
                letters.taken_back(letter)
                self._service.wake()
                after = letter.number
                if asked.rate is not None:
                    await asyncio.sleep(1 / asked.rate)

    async def _by_reason(self) -> dict[str, int]:
        """Return the number of dead letters by reason: where servers share them, those of all."""
        remote = self._service.remote
        return self._service.engine.letters.by_reason if remote is None else await remote.dead_counts()

    async def _put_back(self, asked: AskRedrive) -> None:
        """Put back the letters that there are now; those that come meanwhile are not among them."""
        if self._service.remote is not None:
            await self._put_back_elsewhere(self._service.remote, asked)
            return
        service, after = self._service, 0
        until = service.engine.letters.next
        # Nothing is awaited between reading letters and putting them back: they may be discarded meanwhile.
        while letters := await self._letters(asked.reason, asked.id, after, PAGE if asked.rate is None else 1):
            done = []
            for letter in letters:
                if letter.number >= until or not service.engine.admission.has_room(letter.envelope.size):
                    break
                service.engine.letters.redrive(letter, service.clock())
                done.append(letter.number)
            self._gone.update(done)
            if done:
                after = done[-1]
                await service.written()
                self._gone.difference_update(done)
            if len(done) < len(letters):
                if letters[len(done)].number >= until:
                    return
                await asyncio.sleep(PATIENCE)
            elif asked.rate is not None:
                await asyncio.sleep(1 / asked.rate)

    async def _discard(self, asked: AskDiscard) -> Answer:
        letters = await self._letters(None, asked.id)
        if not letters:
            return Wrong(f"no dead letter has the id {asked.id!r}")
        for letter in letters:
            self._service.engine.letters.discard(letter)
            self._gone.add(letter.number)
        await self._service.written()
        self._gone.difference_update(letter.number for letter in letters)
        return Number(len(letters))

    async def _skip(self, asked: AskSkip) -> Answer:
        if not self._service.engine.letters.skip(asked.key):
            return Wrong(f"the key {asked.key!r} is not halted")
        await self._service.written()
        return Number(1)

    # --- publishing -------------------------------------------------------------------------------

    async def _publish(self, asked: AskPublish) -> Answer:
        self._next += 1
        future = self._asked[self._next] = asyncio.get_running_loop().create_future()
        self._service.publish(Publish(self._next, asked.envelope, 0.0))
        answer = await future
        if isinstance(answer, Refuse):
            return Wrong(f"not stored: {answer.text}")
        return Stored(asked.envelope.id, answer.duplicate)

    def told(self, messages: Iterable[object]) -> None:
        """Events of ours are stored, or refused."""
        for message in messages:
            if isinstance(message, (Confirm, Refuse)):
                for n in message.ns if isinstance(message, Confirm) else (message.n,):
                    if (future := self._asked.pop(n, None)) is not None:
                        future.set_result(message)


def _log(redriving: asyncio.Task[None]) -> None:
    if not redriving.cancelled() and (error := redriving.exception()) is not None:
        logger.error("The dead letters that are left were not put back: %s", error)


def row_of(letter: DeadLetter) -> DeadRow:
    """Return a dead letter as operators see it."""
    envelope = letter.envelope
    try:
        data = envelope.data.decode()
    except UnicodeDecodeError:
        data = base64.b64encode(envelope.data).decode()
    return DeadRow(
        number=letter.number,
        id=envelope.id,
        path=envelope.path,
        route=envelope.route,
        key=envelope.key,
        reason=letter.reason,
        error=letter.error[0],
        text=letter.error[1],
        attempts=letter.attempts,
        crashes=letter.crashes,
        published_at=envelope.published_at,
        first_started=letter.first_started,
        died_at=letter.died_at,
        slot=letter.slot,
        data=data,
        attributes=envelope.attributes,
    )
