"""The lifecycle of a listener, as a table of named states.

    new ──start──> starting ──become_ready──> ready ──drain──> draining ──stop──> stopped
                      └──────────────────────drain──────────────^

Draining: servers stop accepting, sources and events finish what is in flight, then shutdown callbacks run. All of it
shares the graceful timeout. What is left after it is cancelled and logged. Every wait here for code that may ignore
its cancellation has a limit. If the loop is blocked, `last_resort` ends the process.
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
"""Seconds after which a `listen()` that neither returns nor opens servers counts as ready: it is a consumer."""
CANCELLED = 0.2
"""Seconds that cancelled code has for its `finally`."""
LOOK_AGAIN = 0.01
"""Seconds between two checks for new events in flight at the end of a drain."""
CALLBACK = 0.1
"""Minimum seconds for each shutdown callback, even if the graceful timeout is over."""
CALLBACKS = 0.3
"""Seconds beyond the graceful timeout for all shutdown callbacks. With `CANCELLED` less than `last_resort.REPORT`."""


class State(Enum):
    """The state of a listener."""

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
    """A transition that is not in the table."""

    def __init__(self, old: State, new: State) -> None:
        super().__init__(f"a listener that is {old.value} cannot become {new.value}")


_lives_in: ContextVar[Lifecycle | None] = ContextVar("tiny_listener.lives_in", default=None)
"""The lifecycle that runs the current code: startup callbacks, `listen()`, handlers, and the tasks they start."""


class Lifecycle:
    """The lifecycle of one listener: its state, its open sources and its events in flight."""

    def __init__(self) -> None:
        self.state = State.NEW
        self.startup: list[CoroFunc] = []
        self.shutdown: list[CoroFunc] = []
        self.lifespans: list[CoroFunc] = []  # left after the callbacks, in reverse order
        self.sources: list[Source] = []
        """Open sources, in the order in which they were opened."""
        self.running: set[EventTask] = set()
        self.on_activity: Callable[[], None] | None = None
        """Called when input arrives, before it is processed; None: not needed."""
        self._stopping: asyncio.Task[None] | None = None
        self._reset()

    def _reset(self) -> None:
        self._is_ready = asyncio.Event()
        self.draining = Draining()
        self.sources.clear()
        self.last: list[CoroFunc] = []  # run after the lifespans, for one life
        self.opens = False  # whether the added sources are open, or being opened
        self.runs: list[asyncio.Future[None]] = []  # the `run()` of sources
        self._opening = 0
        self.has_servers = False  # whether `listen()` is known to have opened servers
        self._asked_to_stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stopping = None
        self._boot: asyncio.Task[Any] | None = None
        self._deadline = 0.0
        """When the graceful timeout ends, on the loop's clock."""

    def step(self, new: State) -> None:
        """Change the state.

        :raises IllegalStep: the table has no such transition
        """
        if new not in STEPS[self.state]:
            raise IllegalStep(self.state, new)
        self.state = new

    @property
    def in_progress(self) -> int:
        """Number of events in flight, from all sources."""
        return len(self.running) + sum(source.in_flight for source in self.sources)

    @property
    def connections(self) -> int:
        """Number of open client connections, of all sources."""
        return sum(source.open_connections for source in self.sources)

    def ready(self) -> None:
        """Mark the listener as ready for events, before `listen()` returns or if it never does."""
        self._is_ready.set()

    @property
    def is_stopping(self) -> bool:
        """Whether a shutdown has begun."""
        return self._stopping is not None

    async def wait_for_shutdown(self) -> None:
        """Return when a shutdown was requested."""
        await self._asked_to_stop.wait()

    async def live(self, listen: CoroFunc, host: Host) -> None:
        """Run from start to stop. Returns when the shutdown is complete.

        :raises BaseException: raised by a startup callback or `listen()`
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
        """Defer readiness while the block opens something."""
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
        """Open a source. It is drained at shutdown.

        :raises Exception: raised by the source's `open`
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
        """Run the startup callbacks. Return False if a stop interrupted them.

        They run in the current task, because `listen()` copies its context (contextvars). A stop cancels this task.
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
        """Shut down. A second call while the first runs skips the graceful timeout.

        Returns when the shutdown is complete. For code that this lifecycle runs, and so waits for, it returns when the
        shutdown has begun.
        """
        if self._stopping is not None:
            self.hurry(host)
        # In a separate task, because the stop may cancel the caller.
        stopping = self.begin_stop(host)
        if _lives_in.get() is not self:
            await asyncio.shield(stopping)

    def begin_stop(self, host: Host, *, cut: bool = False) -> asyncio.Task[None]:
        """Begin a shutdown unless one has begun; return its task.

        :param cut: whether to cancel an unfinished startup at once, since nothing is in flight yet
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
        """End the graceful timeout now."""
        if host.last_resort is not None and self.state is not State.STOPPED:
            host.last_resort.begin(AT_ONCE)
        self._deadline = min(self._deadline, asyncio.get_running_loop().time())
        self._hurry.set()

    def time_left(self, now: float) -> float:
        """Return the remaining seconds of the graceful timeout, once the drain has begun.

        :param now: the time on the loop's clock
        """
        return max(0.0, self._deadline - now)

    async def _stop(self, host: Host, *, cut: bool, was_ready: bool) -> None:
        try:
            if host.drain_delay and was_ready:
                # A load balancer polls readiness. Until its next poll it still sends events.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), host.drain_delay)
            at_once = cut or self._hurry.is_set()
            self._deadline = asyncio.get_running_loop().time() + (0.0 if at_once else host.graceful_timeout)
            if cut:
                self._end_boot()
            # Not earlier: a client that a handler disconnects during the delay would reconnect to this process.
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
        """Cancel the `run()` of sources before shutdown callbacks close what they use."""
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
            logger.error("Waiting for events in flight failed", exc_info=error)
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
                logger.warning("Left behind, still running after cancellation: %s", names)

    async def _drained(self) -> None:
        await self._in_progress_ended()
        for server in getattr(asyncio.get_running_loop(), "servers", ()):
            await server.wait_closed()  # on uvloop it waits for the server's connections
        while self.in_progress:  # the last events have triggered more
            await asyncio.sleep(LOOK_AGAIN)
            await self._in_progress_ended()

    async def _in_progress_ended(self) -> None:
        while self.running:
            await asyncio.wait(set(self.running))
        # First those of `dispatch_now`: a source may close what its events have used. Then no source waits for another.
        for sources in (self.sources[:1], self.sources[1:]):
            await asyncio.gather(*(source.wait_drained() for source in sources))

    async def _run_callbacks(self) -> None:
        """Run the shutdown callbacks in order, within the rest of the graceful timeout plus `CALLBACKS`."""
        loop = asyncio.get_running_loop()
        last = max(self._deadline, loop.time()) + CALLBACKS
        for callback in (*self.shutdown, *reversed(self.lifespans), *self.last):
            name = getattr(callback, "__name__", callback)
            ending = asyncio.create_task(_call(callback, name), name=f"shutdown callback {name}")
            if not await self._until_deadline(ending, min(last, loop.time() + CALLBACK)):
                ending.cancel()
                logger.warning("Shutdown callback %s exceeded the graceful timeout: cancelling it", name)
                await asyncio.wait({ending}, timeout=0)

    async def _until_deadline(self, awaited: asyncio.Future[Any], at_least: float = 0.0) -> bool:
        """Wait for a future until the graceful timeout is over or `hurry` was called. Return whether it is done.

        :param at_least: the earliest time to give up, on the loop's clock
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
    """Run a shutdown callback. Log what it raises, so that the others run too."""
    try:
        await callback()
    except asyncio.CancelledError:
        raise
    except BaseException:
        logger.exception("Shutdown callback %s failed", name)


def _names(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
