"""The worker's end of the link to the carrier. What the carrier has not confirmed is sent again after a reconnect."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ...errors import EventsOverloaded, EventTooLarge, ListenerError, NotStored, RemoteError
from ...events.link import Link
from ...events.messages import (
    Cancel,
    Confirm,
    Deliver,
    Done,
    Draining,
    Failed,
    FromCarrier,
    Held,
    Hello,
    Publish,
    Refuse,
    Result,
    Returned,
    Settled,
    ToCarrier,
    Unroutable,
    Welcome,
)

if TYPE_CHECKING:
    from ...events.envelope import Envelope
    from ...events.policy import RouteTerms
    from .provider import CarrierProvider

__all__ = ["CarrierClient", "Pending", "Published"]

logger = logging.getLogger("tiny_listener")

UNCONFIRMED: Final = 1000
"""Events that are sent and not confirmed; the next ones wait here, so that the carrier's memory stays bounded."""
UNCONFIRMED_BYTES: Final = 8 * 1024 * 1024
WAITING: Final = 10_000
"""Events that wait here at most. An application that publishes more without awaiting has no use for more memory."""
LOOK: Final = 0.25
"""Seconds between two looks for events that were not confirmed in time."""
SLACK: Final = 2.0
"""Seconds that the carrier has for its own refusal before the client gives up."""


class Published(NamedTuple):
    """What `publish` returns: the event is stored.

    :ivar id: of the event
    :ivar duplicate: whether an event with this id was stored before, so that this one was dropped
    """

    id: str
    duplicate: bool


class Pending:
    """An event on its way to the carrier, or a request that waits for its result.

    :ivar stored: done when it is stored
    :ivar result: done when the request has its answer; None: it is no request
    """

    __slots__ = ("deadline", "envelope", "has_own_id", "is_stored", "n", "result", "stored")

    def __init__(
        self,
        envelope: Envelope,
        deadline: float,
        stored: asyncio.Future[Published],
        result: asyncio.Future[bytes] | None,
        *,
        has_own_id: bool,
    ) -> None:
        self.envelope: Final = envelope
        self.deadline: Final = deadline
        self.stored: Final = stored
        self.result: Final = result
        self.has_own_id: Final = has_own_id
        self.is_stored = False
        self.n = 0


class CarrierClient:
    """Publishes events, and takes those that the carrier delivers.

    :param provider: connects it
    :param slot: of this worker
    :param terms: returns those of the routes, by pattern; None: this worker takes no events
    :param on_deliver: called with each delivered event
    :param on_cancel: called with one in flight, of which nothing is to be said any more
    :ivar in_flight: delivered events that are not settled, by number
    """

    def __init__(
        self,
        provider: CarrierProvider,
        slot: int,
        terms: Callable[[], dict[str, RouteTerms] | None],
        on_deliver: Callable[[Deliver], None],
        on_cancel: Callable[[Deliver], None],
    ) -> None:
        self._on_cancel: Final = on_cancel
        self._provider: Final = provider
        self._slot: Final = slot
        self._terms: Final = terms
        self._on_deliver: Final = on_deliver
        self._loop: Final = asyncio.get_running_loop()
        self._link: Link[FromCarrier, ToCarrier] | None = None
        self._is_greeted = False
        self._store_id: str | None = None
        self._is_draining = False
        self._is_asked = False
        self._numbers = 0
        self._waiting: Final[deque[Pending]] = deque()
        self._sent: Final[dict[int, Pending]] = {}
        self._bytes = 0
        self._requests: Final[dict[int, Pending]] = {}
        self._settles: Final[deque[tuple[int, Done | Failed | Unroutable]]] = deque()
        self._looking: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self.in_flight: Final[dict[int, Deliver]] = {}
        self._handlers: Final[dict[type, Callable[[Any], None]]] = {
            Welcome: self._greeted,
            Confirm: self._confirmed,
            Refuse: self._refused,
            Deliver: self._delivered,
            Cancel: self._cancelled,
            Settled: self._are_settled,
            Result: self._has_result,
        }

    # --- the link ---------------------------------------------------------------------------------

    def connect(self, *, starts: bool) -> None:
        """Ask for a link.

        :param starts: whether the carrier is started if it does not run
        :raises CarrierError: it cannot be started
        """
        if not self._is_asked:
            self._is_asked = starts
            self._provider.want(self._linked, starts=starts)

    def _linked(self, sock: socket.socket) -> None:
        old, self._link = self._link, None
        self._is_greeted = False
        if old is not None:
            old.close()
        link: Link[FromCarrier, ToCarrier] = Link(FromCarrier, self._hear, lambda: self._lost(link))
        self._link = link
        link.open(sock)

    def _lost(self, link: Link[FromCarrier, ToCarrier]) -> None:
        if link is self._link:
            self._link = None
            self._is_greeted = False

    def _send(self, message: ToCarrier) -> None:
        if self._is_greeted and self._link is not None:
            self._link.send(message)

    def _hear(self, messages: list[FromCarrier]) -> None:
        for message in messages:
            self._handlers[type(message)](message)

    def _greeted(self, welcome: Welcome) -> None:
        """The carrier is there: say who we are, what we have in flight, and again what it did not confirm."""
        if self._store_id not in (None, welcome.store_id):
            if self.in_flight:
                logger.warning("The carrier lost its memory: %d events in flight are not settled", len(self.in_flight))
            self.forget_in_flight()
        self._store_id = welcome.store_id
        assert self._link is not None
        self._is_greeted = True
        settled = [Held(settle.seq, attempt) for attempt, settle in self._settles]
        held = [
            Held(deliver.seq, deliver.attempt, deliver.envelope if deliver.is_acked else None)
            for deliver in self.in_flight.values()
        ]
        window = self._provider.settings.concurrency
        self._send(Hello(self._slot, os.getpid(), window, self._terms(), welcome.store_id, settled + held))
        for _, settle in self._settles:
            self._send(settle)
        if self._is_draining:
            self._send(Draining())
        for pending in sorted({**self._sent, **self._requests}.values(), key=lambda pending: pending.n):
            self._publish_now(pending)
        self._fill()

    def close(self) -> None:
        """Close the link, once what is waiting is sent."""
        if self._looking is not None:
            self._looking.cancel()
        link, self._link = self._link, None
        if link is not None:
            link.close()

    # --- publishing -------------------------------------------------------------------------------

    def publish(self, envelope: Envelope, timeout: float, *, has_own_id: bool, wants_result: bool = False) -> Pending:
        """Send an event to the carrier.

        :param timeout: seconds that it may wait
        :param has_own_id: whether the application chose its id
        :raises CarrierError: the carrier cannot be started
        :raises ListenerError: this is another thread than that of the loop
        """
        loop = self._loop
        if asyncio._get_running_loop() is not loop:  # noqa: SLF001 - documented, and cheaper than what raises
            raise ListenerError(
                "publish() was called in another thread than that of the listener: call it there, for example by "
                "asyncio.run_coroutine_threadsafe()"
            )
        self.connect(starts=True)
        result = loop.create_future() if wants_result else None
        pending = Pending(envelope, loop.time() + timeout, loop.create_future(), result, has_own_id=has_own_id)
        if len(self._waiting) >= WAITING:
            text = f"{WAITING} events of this worker wait to be stored: await publish() before you publish more"
            self._fail(pending, EventsOverloaded(text))
            return pending
        self._waiting.append(pending)
        if self._looking is None:
            self._looking = loop.call_later(LOOK, self._look)
        self._fill()
        return pending

    def _fill(self) -> None:
        while self._waiting and self._is_greeted and len(self._sent) < UNCONFIRMED:
            if self._sent and self._bytes + self._waiting[0].envelope.size > UNCONFIRMED_BYTES:
                return
            pending = self._waiting.popleft()
            self._numbers += 1
            pending.n = self._numbers
            self._sent[pending.n] = pending
            self._bytes += pending.envelope.size
            self._publish_now(pending)

    def _publish_now(self, pending: Pending) -> None:
        wait = max(0.0, pending.deadline - self._loop.time())
        self._send(Publish(pending.n, pending.envelope, wait, pending.result is not None))

    def _over(self, n: int) -> Pending | None:
        """The carrier has answered a publish: the next may go."""
        pending = self._sent.pop(n, None)
        if pending is not None:
            self._bytes -= pending.envelope.size
            self._fill()
        return pending

    def _confirmed(self, confirm: Confirm) -> None:
        for n in confirm.ns:
            pending = self._over(n)
            if pending is None:
                continue
            if pending.result is not None and not pending.result.done():
                self._requests[pending.n] = pending
            if not pending.stored.done():
                # An id of ours is known only if it was stored before a reconnect: it is no duplicate.
                pending.stored.set_result(Published(pending.envelope.id, confirm.duplicate and pending.has_own_id))
        self._see_whether_drained()

    def _refused(self, refuse: Refuse) -> None:
        pending = self._over(refuse.n) or self._requests.pop(refuse.n, None)
        if pending is None:
            return
        kinds: dict[str, type[Exception]] = {"overloaded": EventsOverloaded, "too large": EventTooLarge}
        error = kinds.get(refuse.kind, NotStored)
        self._fail(pending, error(f"The event {pending.envelope.path[:80]!r} is not stored: {refuse.text}"))
        self._see_whether_drained()

    @staticmethod
    def _fail(pending: Pending, error: Exception) -> None:
        if not pending.stored.done():
            pending.stored.set_exception(error)
        elif pending.result is not None and not pending.result.done():
            pending.result.set_exception(error)

    def _look(self) -> None:
        """Give up what was not confirmed in time."""
        self._looking = None
        now = self._loop.time()
        late = [pending for pending in self._waiting if pending.deadline <= now]
        for pending in late:
            why = "the carrier takes no more" if self._is_greeted else "there is no link to the carrier"
            self._waiting.remove(pending)
            self._give_up(pending, f"in time: {why}")
        for n in [n for n, pending in self._sent.items() if pending.deadline + SLACK <= now]:
            if (unconfirmed := self._over(n)) is not None:
                self._give_up(unconfirmed, "in time: the carrier did not confirm it")
        if self._waiting or self._sent:
            self._looking = self._loop.call_later(LOOK, self._look)
        self._see_whether_drained()

    def _give_up(self, pending: Pending, why: str) -> None:
        text = f"The event {pending.envelope.path[:80]!r} is not known to be stored {why}; the same id= is safe again"
        self._fail(pending, NotStored(text))

    def _has_result(self, result: Result) -> None:
        pending = self._requests.pop(result.n, None)
        if pending is None or pending.result is None or pending.result.done():
            return
        if result.data is not None:
            pending.result.set_result(result.data)
        else:
            pending.result.set_exception(RemoteError(*(result.error or ("", ""))))

    def forget_request(self, pending: Pending) -> None:
        """Nobody waits for the result of a request any more."""
        if pending.result is not None:
            pending.result.cancel()
        self._requests.pop(pending.n, None)

    # --- handling ---------------------------------------------------------------------------------

    def _delivered(self, deliver: Deliver) -> None:
        if self._is_draining:  # it was on its way
            self._send(Returned([deliver.seq]))
            return
        self.in_flight[deliver.seq] = deliver
        self._on_deliver(deliver)

    def _cancelled(self, cancel: Cancel) -> None:
        deliver = self.in_flight.pop(cancel.seq, None)
        if deliver is not None:
            self._on_cancel(deliver)
            self._see_whether_drained()

    def holds(self, deliver: Deliver) -> bool:
        """Whether an event is in flight here, and not settled."""
        return self.in_flight.get(deliver.seq) is deliver

    def forget_in_flight(self) -> None:
        """Forget what is in flight, and what is settled and not confirmed: the carrier does not know it any more."""
        self.in_flight.clear()
        self._settles.clear()
        self._see_whether_drained()

    def settle(self, deliver: Deliver, message: Done | Failed | Unroutable) -> None:
        """Tell what became of an event."""
        if not self.holds(deliver):
            return  # of a carrier that lost its memory
        del self.in_flight[deliver.seq]
        self._settles.append((deliver.attempt, message))
        self._send(message)

    def give_back(self, delivers: list[Deliver]) -> None:
        """Tell that events end unsettled, because this worker drains."""
        ours = [deliver.seq for deliver in delivers if self.holds(deliver)]
        for seq in ours:
            del self.in_flight[seq]
        if ours:
            self._send(Returned(ours))
        self._see_whether_drained()

    def _are_settled(self, settled: Settled) -> None:
        for _ in range(min(settled.count, len(self._settles))):
            self._settles.popleft()
        self._see_whether_drained()

    # --- the end ----------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no more events."""
        self._is_draining = True
        self._send(Draining())

    @property
    def is_busy(self) -> bool:
        """Whether something is in flight, or not confirmed."""
        return bool(self.in_flight or self._settles or self._sent or self._waiting)

    async def wait_idle(self) -> None:
        """Return when nothing is in flight, and all is confirmed."""
        while self.is_busy:
            self._drained = self._loop.create_future()
            await self._drained

    def _see_whether_drained(self) -> None:
        if self._drained is not None and not self.is_busy and not self._drained.done():
            self._drained.set_result(None)
