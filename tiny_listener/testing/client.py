"""The client for tests of published events."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..core.publishing.events import PublishedEvent
from ..core.publishing.payload import finite
from ..events.questions import Answer, AskDiscard, AskRedrive, AskSkip, Number, Question, Wrong
from ..events.settings import EventSettings, Limits
from .carrier import TestCarrier
from .loop import IdleLoop
from .record import Dead, Tracked, data_of

if TYPE_CHECKING:
    from ..core.listener import Listener
    from ..core.publishing.client import Published
    from ..core.registration import NamedEvent

__all__ = ["EventClient"]

T = TypeVar("T")
LINKS = 2
"""Open sockets of the carrier: the two ends of the link."""
SHOWN = 10
"""Events that a message names."""


class EventClient:
    """Publishes events and runs their handlers, in this process: the real engine, a store in memory, a virtual clock.

    As a context manager it runs the startup callbacks and lifespans of the application in a loop of its own, but opens
    no source and no server. An event is handled by `run()`, never earlier. Nothing waits for time to pass: delays,
    retries and `RetryLater` fall due by `advance()`. A retry waits as long as its jitter may last at most, which is
    `first * factor ** (n - 1)` seconds after attempt n.

    The clock of the application goes on: `time.time()`, `asyncio.sleep()` and the `timeout=` of a route are real time.

        with EventClient(app) as events:
            events.publish("order 1 placed", order, key="ann")
            events.run()
            assert events.attempts("order 1 placed") == 1
            events.advance(1)
            assert events.dead == []

    :param app: the application
    :param patience: seconds of real time in which a handler that waits must come on; then it stays in flight. One that
        waits for what nothing in this process will do, such as an `asyncio.Event`, stays in flight at once
    """

    def __init__(self, app: Listener[Any], *, patience: float = 1.0) -> None:
        self.app = app
        self.patience = patience
        self._carrier = TestCarrier(EventSettings(limits=Limits(confirm_within=0)))
        self._host = app.host
        self._runner: asyncio.Runner | None = None
        self._life: asyncio.Task[None] | None = None

    # --- its life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Run the startup callbacks.

        :raises RuntimeError: an event loop is running in this thread
        :raises Exception: raised by a callback
        """
        _check_no_loop()
        if self._runner is not None:
            raise RuntimeError("this EventClient is in use: make another one")
        self._host = self.app.host
        self._carrier = TestCarrier(EventSettings(limits=Limits(confirm_within=0)))
        self._runner = asyncio.Runner(loop_factory=IdleLoop)
        try:
            self._runner.run(self._start())
        except BaseException:
            self._end()
            raise
        return self

    async def _start(self) -> None:
        ready = asyncio.Event()
        self.app.host = replace(self._host, carrier=self._carrier, on_ready=ready.set)
        self._life = asyncio.ensure_future(self.app.live(_opens_nothing))
        becomes_ready = asyncio.ensure_future(ready.wait())
        await asyncio.wait({self._life, becomes_ready}, return_when="FIRST_COMPLETED")
        becomes_ready.cancel()
        if self._life.done():
            self._life.result()
        await self._until_idle()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Cancel what is in flight, and run the shutdown callbacks."""
        if self._runner is not None:
            try:
                self._runner.run(self._stop())
            finally:
                self._end()

    async def _stop(self) -> None:
        if self._is_busy():
            self.app.host.graceful_timeout = 0.0
        await self.app.graceful_shutdown()
        if self._life is not None:
            await self._life

    def _end(self) -> None:
        runner, self._runner = self._runner, None
        self._life = None
        self.app.host = self._host
        if runner is not None:
            runner.close()

    def _do(self, coro: Coroutine[Any, Any, T]) -> T:
        if self._runner is None:
            coro.close()
            raise RuntimeError("use EventClient as a context manager: with EventClient(app) as events: ...")
        try:
            _check_no_loop()
        except RuntimeError:
            coro.close()
            raise
        return self._runner.run(coro)

    # --- publishing and handling ------------------------------------------------------------------

    def publish(self, path: str | NamedEvent, data: Any = None, **options: Any) -> Published:
        """Store an event, as `app.publish(...)` does; `run()` handles it.

        :param options: those of `Listener.publish`
        :raises ListenerError: see `Listener.publish`, whose other errors this raises, too
        """
        return self._do(self._publish(path, data, options))

    async def _publish(self, path: str | NamedEvent, data: Any, options: dict[str, Any]) -> Published:
        return await self.app.publish(path, data, **options)

    def run(self) -> None:
        """Handle events until nothing is left to do now. Delays and retries stay, and so does what is in flight and
        cannot go on; see `patience`.
        """
        self._do(self._run())

    async def _run(self) -> None:
        self._carrier.pause(is_paused=False)
        try:
            await self._until_idle()
        finally:
            self._carrier.pause(is_paused=True)

    def advance(self, seconds: float) -> None:
        """Move the virtual clock, and handle what falls due, in the order of time. What is left to do now comes first.

        :raises ValueError: seconds is below 0
        """
        if (given := finite(seconds)) is None or given < 0:
            raise ValueError(f"advance(seconds) takes 0 or more seconds, not {seconds!r}")
        self._do(self._advance(given))

    async def _advance(self, seconds: float) -> None:
        clock = self._carrier.clock
        until = clock.now + seconds
        await self._run()
        while self._carrier.has_started and (due := self._carrier.service.engine.next_due()) is not None:
            if due > until:
                break
            clock.now = max(clock.now, due)
            await self._run()
        clock.now = until
        await self._run()

    def request(
        self, path: str | NamedEvent, data: Any = None, *, key: str | int | bytes | None = None, timeout: float = 30.0
    ) -> Any:
        """Publish an event, handle it and whatever else is waiting, and return its result; see `Listener.request`.

        :param timeout: seconds of real time
        :raises RemoteError: the handler failed for good
        :raises TimeoutError: there is no result in time
        :raises AssertionError: nothing in this process will make the result: the handler waits for something, or for
            its retry
        :raises ListenerError: see `Listener.publish`
        """
        return self._do(self._request(path, data, key, timeout))

    async def _request(
        self,
        path: str | NamedEvent,
        data: Any,
        key: str | int | bytes | None,
        timeout: float,  # noqa: ASYNC109
    ) -> Any:
        asking = asyncio.ensure_future(self.app.request(path, data, key=key, timeout=timeout))
        await self._run()
        if not asking.done():
            asking.cancel()
            await asyncio.wait({asking})
            raise AssertionError(
                f"the request {path!r} has no answer: {_list(self.waiting)}; a retry, and a handler that waits for "
                "something, need publish(), run() and advance()"
            )
        return asking.result()

    async def _until_idle(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, IdleLoop)
        await loop.until_idle(self._is_busy, self._progress, self.patience, LINKS if self._carrier.has_started else 0)

    def _is_busy(self) -> bool:
        publisher = self.app.publisher
        return bool(self.app.lifecycle.in_progress) or (publisher is not None and publisher.consumer.client.is_busy)

    def _progress(self) -> tuple[int, int]:
        return self.app.hooks.dispatched, self._carrier.service.transactions.number

    # --- what became of them ----------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The virtual time, in seconds since 1970."""
        return self._carrier.clock.now

    def attempts(self, event: str | NamedEvent) -> int:
        """Return how often an event was started.

        :param event: its path or its id; of a named event, the only one of its pattern
        :raises AssertionError: no such event was published, or several were
        """
        found = self._carrier.record.find(event)
        if len(found) == 1:
            return found[0].attempts
        if found:
            raise AssertionError(f"{len(found)} events are {event!r}, ask by an id: {_list(found)}")
        raise AssertionError(f"no event {event!r} was published: {_list([*self._carrier.record.events.values()])}")

    @property
    def waiting(self) -> list[Tracked]:
        """The events that wait for their turn, their time or their retry, or are in flight."""
        return [event for event in self._carrier.record.events.values() if event.outcome == "waiting"]

    @property
    def settled(self) -> list[Tracked]:
        """The events that are over: `ok`, `expired` or `dead`."""
        return [event for event in self._carrier.record.events.values() if event.outcome != "waiting"]

    @property
    def dead(self) -> list[Dead]:
        """The dead letters that are kept, in the order in which they came."""
        if not self._carrier.has_started:
            return []
        return [
            Dead(
                path=letter.envelope.path,
                id=letter.envelope.id,
                key=letter.envelope.key,
                reason=letter.reason,
                error=letter.error[0],
                text=letter.error[1],
                attempts=letter.attempts,
                data=data_of(letter.envelope),
            )
            for letter in self._carrier.service.store.dead_letters(limit=1_000_000)
        ]

    @property
    def halted(self) -> list[str]:
        """The keys that wait for an operator."""
        return sorted(self._carrier.service.engine.letters.halted) if self._carrier.has_started else []

    # --- what operators and accidents do ----------------------------------------------------------

    def redrive(self, id: str | None = None, *, reason: str | None = None) -> int:  # noqa: A002
        """Put dead letters back among the events, as `tiny-listenerctl dead redrive` does. Return how many.

        :param id: only that of this event
        :param reason: only those with this reason
        :raises AssertionError: there is no such dead letter
        """
        number = self._ask(AskRedrive(reason, id))
        if not number:
            raise AssertionError(f"no dead letter has the reason {reason!r}: {_list(self.dead)}")
        return number

    def discard(self, id: str) -> None:  # noqa: A002
        """Delete the dead letter of an event. The key that waits for it goes on.

        :raises AssertionError: it has none
        """
        self._ask(AskDiscard(id))

    def skip(self, key: str) -> None:
        """Let a halted key go on without the event that halted it.

        :raises AssertionError: it is not halted
        """
        self._ask(AskSkip(key))

    def _ask(self, question: Question) -> int:
        answer = self._do(self._answer(question))
        if isinstance(answer, Wrong):
            raise AssertionError(f"{answer.text}: {_list(self.dead)}")  # noqa: TRY004 - for the test
        assert isinstance(answer, Number)
        return answer.number

    async def _answer(self, question: Question) -> Answer:
        if not self._carrier.has_started:
            return Wrong("the application has no route for published events")
        return await self._carrier.service.answer(question)

    def crash_worker(self) -> int:
        """Let the worker die and a successor take its place. Return how many events were in flight.

        These come again by `run()`, as suspects: one at a time, with nothing else in flight. To have something in
        flight, let its handler await what does not end, for example `asyncio.Event().wait()` at the first attempt.
        Their handlers are cancelled, which a real crash would not do; the application is not started again.
        """
        return self._do(self._crash())

    async def _crash(self) -> int:
        publisher = self.app.publisher
        if publisher is None:
            return 0
        client = publisher.consumer.client
        number = len(client.in_flight)
        client.forget_in_flight()
        self.app.event_pool.cancel(lambda event: isinstance(event, PublishedEvent))
        self._carrier.link()
        await self._until_idle()
        return number


async def _opens_nothing() -> None:
    pass


def _list(events: list[Any]) -> str:
    shown = ", ".join(map(repr, events[:SHOWN])) + (", ..." if len(events) > SHOWN else "")
    return shown or "there is none"


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "a loop is running in this thread, and EventClient runs its own: use it in a plain function, outside handlers"
    )
