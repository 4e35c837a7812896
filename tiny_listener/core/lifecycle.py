"""The life of a listener in its process, as a table of named states.

    new ──start──> starting ──become_ready──> ready ──drain──> draining ──stop──> stopped
                      └──────────────────────drain──────────────^

Draining: servers stop accepting, sources finish what is in flight, running events end, shutdown callbacks run. All of
that shares the graceful timeout: what is left then is cancelled and named in the log. Nothing here waits without a
limit for what may not heed its cancellation; what blocks the loop is for `last_resort` to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextvars import ContextVar
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import ListenerError
from ..net.accepting import stop_accepting
from ..net.fd_watch import DescriptorWatch
from ..process.last_resort import AT_ONCE, MAX_NAMES
from .draining import Draining
from .source import GuardedSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .aliases import CoroFunc
    from .dispatch import EventTask
    from .listener import Listener
    from .runtime import Host
    from .source import Source

__all__ = ["IllegalStep", "Lifecycle", "State"]

logger = logging.getLogger("tiny_listener")

READY_AFTER = 1.0
"""Seconds after which a `listen()` that neither returns nor opens servers counts as ready: it consumes."""
CANCELLED = 0.2
"""Seconds that what was cancelled has for its `finally`."""
LOOK_AGAIN = 0.01
"""Seconds between two looks at what is in flight though it was waited for."""
CALLBACK = 0.1
"""Seconds that a shutdown callback has at least, where nothing is left of the graceful timeout;"""
CALLBACKS = 0.3
"""and all of them together. With `CANCELLED` it is less than `last_resort.REPORT`."""


class State(Enum):
    """Where a listener is in its life."""

    NEW = "new"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


STEPS: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.STARTING}),
    State.STARTING: frozenset({State.READY, State.DRAINING}),
    State.READY: frozenset({State.DRAINING}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset({State.STARTING}),
}


class IllegalStep(ListenerError):  # noqa: N818
    """A step that the table of states does not have."""

    def __init__(self, old: State, new: State) -> None:
        super().__init__(f"a listener that is {old.value} cannot become {new.value}")


_lives_in: ContextVar[Lifecycle | None] = ContextVar("tiny_listener.lives_in", default=None)
"""The life in which code runs: of startup callbacks, `listen()`, handlers, and the tasks that they start."""


class Lifecycle:
    """The life of one listener, and what has to end before it may."""

    def __init__(self) -> None:
        self.state = State.NEW
        self.startup: list[CoroFunc] = []
        self.shutdown: list[CoroFunc] = []
        self.sources: list[Source] = []
        """Those that are open, in the order in which they were opened."""
        self.running: set[EventTask] = set()
        self.on_activity: Callable[[], None] | None = None
        """To be called when something comes in, before it is worked on; None while nobody wants to know."""
        self._stopping: asyncio.Task[None] | None = None
        self._reset()

    def _reset(self) -> None:
        self._is_ready = asyncio.Event()
        self.draining = Draining()
        self.sources.clear()
        self.opens = False  # whether the sources that were added are being opened, or open
        self.runs: list[asyncio.Future[None]] = []  # the `run()` of sources
        self._opening = 0
        self.has_servers = False  # whether `listen()` has opened servers, as far as is known
        self._asked_to_stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stopping = None
        self._boot: asyncio.Task[Any] | None = None
        self._deadline = 0.0
        """On the loop's clock: when the graceful timeout is over."""

    def step(self, new: State) -> None:
        """Go on to a state.

        :raises IllegalStep: it cannot follow on the present one
        """
        if new not in STEPS[self.state]:
            raise IllegalStep(self.state, new)
        self.state = new

    @property
    def in_progress(self) -> int:
        """How many events have begun and not ended, whatever their source."""
        return len(self.running) + sum(source.in_flight for source in self.sources)

    @property
    def connections(self) -> int:
        """How many connections clients have with the sources."""
        return sum(source.open_connections for source in self.sources)

    def ready(self) -> None:
        """Say that events are taken in from now on (before `listen()` returns, or where it never does)."""
        self._is_ready.set()

    @property
    def is_stopping(self) -> bool:
        """Whether a shutdown has begun."""
        return self._stopping is not None

    async def wait_for_shutdown(self) -> None:
        """Return when a shutdown was asked for."""
        await self._asked_to_stop.wait()

    async def live(self, listen: CoroFunc, host: Host) -> None:
        """Live from start to stop: returns when a shutdown is complete.

        :raises BaseException: what a startup callback or `listen()` raised
        """
        self._reset()
        self.step(State.STARTING)
        outside = _lives_in.set(self)
        loop: Any = asyncio.get_running_loop()
        asked = asyncio.ensure_future(self.wait_for_shutdown())
        listening: asyncio.Future[Any] | None = None
        descriptors = DescriptorWatch()
        try:
            if await self._start_up():
                if hasattr(loop, "servers"):
                    loop.on_servers = partial(self._see_whether_ready, has_servers=True)
                listening = asyncio.ensure_future(listen())
                await self._wait_until_ready(listening, asked, loop)
                if self.state is State.STARTING:
                    self._is_ready.set()
                    self.step(State.READY)
                    if host.last_resort is not None:
                        host.last_resort.booted()
                    host.on_ready()
                    descriptors.start()
                if not listening.done():
                    await asyncio.wait({listening, asked}, return_when="FIRST_COMPLETED")
                if listening.done() and not listening.cancelled():
                    listening.result()
            await asked
            await self._stopped.wait()
        finally:
            descriptors.stop()
            asked.cancel()
            if listening is not None:
                listening.cancel()
                await asyncio.wait({listening}, timeout=CANCELLED)
            await asyncio.shield(self.begin_stop(host))
            _lives_in.reset(outside)

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Not be ready while the block runs: something opens."""
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1
        self._see_whether_ready()

    def _see_whether_ready(self, *, has_servers: bool = False) -> None:
        self.has_servers = self.has_servers or has_servers
        if self.has_servers and not self._opening:
            self._is_ready.set()

    async def open(self, source: Source, listener: Listener[Any]) -> None:
        """Open a source, for as long as this life lasts.

        :raises Exception: what its `open` raised
        """
        try:
            with self.opening():
                await source.open(listener)
                opened = GuardedSource(source)
                self.sources.append(opened)
        except Exception as exc:
            exc.add_note(f"The source {source.name!r} could not be opened.")
            raise
        if self.draining.has_begun:
            opened.drain()

    async def _start_up(self) -> bool:
        """Run the startup callbacks; return whether they have ended, and no stop was in their way.

        They run in the task that `listen()` copies its context from (contextvars), so a stop cancels that one.
        """
        self._boot = asyncio.current_task()
        try:
            for callback in self.startup:
                await callback()
        except asyncio.CancelledError:
            if not self._asked_to_stop.is_set() or self._boot is None:
                raise
            self._boot.uncancel()
            return False
        finally:
            self._boot = None
        return True

    async def _wait_until_ready(self, listening: asyncio.Future[Any], asked: asyncio.Future[Any], loop: Any) -> None:
        became = asyncio.ensure_future(self._is_ready.wait())
        awaited = {listening, became, asked}
        while not (await asyncio.wait(awaited, timeout=READY_AFTER, return_when="FIRST_COMPLETED"))[0]:
            if not self._opening and not getattr(loop, "opening", 0):
                break
        became.cancel()
        if listening.done():
            listening.result()

    async def stop(self, host: Host) -> None:
        """Shut down; a second call while the first runs makes it hurry.

        Returns when that is done; to code that runs within this life, and may be waited for itself, when it has begun.
        """
        if self._stopping is not None:
            self.hurry(host)
        # A task of its own: the caller may be one of those that the stop cancels.
        stopping = self.begin_stop(host)
        if _lives_in.get() is not self:
            await asyncio.shield(stopping)

    def begin_stop(self, host: Host, *, cut: bool = False) -> asyncio.Task[None]:
        """Let a shutdown begin, if none has, and return its task.

        :param cut: whether a start-up that has not ended is cancelled at once: nothing is in flight yet
        """
        if self._stopping is None:
            was_ready = self.state is State.READY
            self.step(State.DRAINING)
            self._asked_to_stop.set()
            if host.last_resort is not None:
                host.last_resort.begin()
            self._stopping = asyncio.ensure_future(self._stop(host, cut=cut and not was_ready, was_ready=was_ready))
        return self._stopping

    def hurry(self, host: Host) -> None:
        """Give what is in flight no more time."""
        if host.last_resort is not None and self.state is not State.STOPPED:
            host.last_resort.begin(AT_ONCE)
        self._deadline = min(self._deadline, asyncio.get_running_loop().time())
        self._hurry.set()

    def time_left(self, now: float) -> float:
        """Return the seconds that are left of the graceful timeout, once the drain has begun.

        :param now: on the loop's clock
        """
        return max(0.0, self._deadline - now)

    async def _stop(self, host: Host, *, cut: bool, was_ready: bool) -> None:
        try:
            if host.drain_delay and was_ready:
                # A load balancer looks at readiness now and then: until it has, events still come.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), host.drain_delay)
            at_once = cut or self._hurry.is_set()
            self._deadline = asyncio.get_running_loop().time() + (0.0 if at_once else host.graceful_timeout)
            if cut:
                self._end_boot()
            # Not before: a client that a handler sends away during the delay would come back to this process.
            self.draining.begin()
            for server in getattr(asyncio.get_running_loop(), "servers", ()):
                stop_accepting(server)
            for source in self.sources:
                source.drain()
            await self._finish_in_flight(host.graceful_timeout)
            await self._end_runs()
            self._end_boot()
            await self._run_callbacks()
        finally:
            self.step(State.STOPPED)
            self._stopped.set()

    async def _end_runs(self) -> None:
        """Cancel what takes events in, before shutdown callbacks close what it uses."""
        for run in self.runs:
            run.cancel()
        if self.runs:
            await asyncio.wait(self.runs, timeout=CANCELLED)

    def _end_boot(self) -> None:
        if self._boot is not None:
            self._boot.cancel()

    async def _finish_in_flight(self, timeout: float) -> None:  # noqa: ASYNC109
        in_flight = asyncio.ensure_future(self._drained())
        if not await self._until_deadline(in_flight):
            in_flight.cancel()
        elif (error := in_flight.exception()) is not None:
            logger.error("What is in flight cannot be waited for", exc_info=error)
        else:
            return
        why = "a second signal" if self._hurry.is_set() else f"the graceful timeout of {timeout:g} s"
        running = set(self.running)
        left = [f"event {task.get_name()!r}" for task in running]
        for task in running:
            task.cancel()
        for source in self.sources:
            left += source.abort()
        if left:
            logger.warning("Cancelled after %s: %s", why, _names(left))
        if running:
            _, deaf = await asyncio.wait(running, timeout=CANCELLED)
            if deaf:
                names = _names(sorted(f"event {task.get_name()!r}" for task in deaf))
                logger.warning("Left behind, for it goes on though it was cancelled: %s", names)

    async def _drained(self) -> None:
        await self._in_progress_ended()
        for server in getattr(asyncio.get_running_loop(), "servers", ()):
            await server.wait_closed()  # of uvloop's: until its connections have ended
        while self.in_progress:  # what ended last has triggered more
            await asyncio.sleep(LOOK_AGAIN)
            await self._in_progress_ended()

    async def _in_progress_ended(self) -> None:
        while self.running:
            await asyncio.wait(set(self.running))
        # First those of `dispatch_now`: a source may close what its events have used. Then no source waits for another.
        for sources in (self.sources[:1], self.sources[1:]):
            await asyncio.gather(*(source.wait_drained() for source in sources))

    async def _run_callbacks(self) -> None:
        """Run the shutdown callbacks in order, for what is left of the graceful timeout and a little more."""
        loop = asyncio.get_running_loop()
        last = max(self._deadline, loop.time()) + CALLBACKS
        for callback in self.shutdown:
            name = getattr(callback, "__name__", callback)
            ending = asyncio.create_task(_call(callback, name), name=f"shutdown callback {name}")
            if not await self._until_deadline(ending, min(last, loop.time() + CALLBACK)):
                ending.cancel()
                logger.warning("Shutdown callback %s takes longer than the graceful timeout: it is cancelled", name)
                await asyncio.wait({ending}, timeout=0)

    async def _until_deadline(self, awaited: asyncio.Future[Any], at_least: float = 0.0) -> bool:
        """Wait for a future until the graceful timeout is over, or somebody is in a hurry; return whether it is done.

        :param at_least: on the loop's clock: not less long than until then
        """
        loop = asyncio.get_running_loop()
        hurry = asyncio.ensure_future(self._hurry.wait())
        until = max(self._deadline, at_least)
        await asyncio.wait({awaited, hurry}, timeout=max(0.0, until - loop.time()), return_when="FIRST_COMPLETED")
        hurry.cancel()
        if not awaited.done() and loop.time() < at_least:
            await asyncio.wait({awaited}, timeout=at_least - loop.time())
        return awaited.done()


async def _call(callback: CoroFunc, name: object) -> None:
    """Run a shutdown callback; whatever it raises, the others are run too."""
    try:
        await callback()
    except asyncio.CancelledError:
        raise
    except BaseException:
        logger.exception("Shutdown callback %s failed", name)


def _names(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
