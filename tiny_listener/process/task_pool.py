"""A pool of waiting tasks: a coroutine that does not suspend needs no task of its own.

Making a task for each request costs more than most handlers do. Here the first step of a coroutine runs at once, as a
task that waits in the pool: `asyncio.current_task()` returns that task. If the coroutine ends in that step, the task
stays in the pool unchanged, and the next coroutine may run as the same task. If the coroutine suspends, the task wakes
up and continues it: it yields what the coroutine yielded. So timeouts, task groups and cancellation see one ordinary
task from beginning to end. Each coroutine has its own context (contextvars) in both cases. It is a copy of the pool's
context, not of the context of the code that runs the coroutine, which may be another coroutine.

A task is reused only if that cannot be observed. It ends, as the task of that one coroutine, if other code

- refers to it, strongly or weakly: a later `cancel()`, a `WeakKeyDictionary` by task, SQLAlchemy's
  `async_scoped_session(scopefunc=asyncio.current_task)`;
- added a done callback, named it, set an attribute, or cancelled it, even if the cancellation was caught.

References are counted (`sys.getrefcount`, `weakref.getweakrefcount`) and compared with the counts of a probe task,
which no other code can know: `asyncio.all_tasks()` does not list it, and it runs nothing else. The same lines of code
take its counts when the pool starts.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from sys import getrefcount
from typing import Any, TypeAlias
from weakref import getweakrefcount

from .asyncio_private import enter_task, leave_task, unregister_task
from .driver import drive, first_step, go_on
from .pooled_task import PooledTask, set_attribute

__all__ = ["Suspended", "TaskPool", "suspended_coroutine"]

MAX_POOL = 256
"""Maximum number of idle tasks; each takes about 2 KiB."""

OnDone: TypeAlias = Callable[[Any, BaseException | None], None]
current_task = asyncio.current_task


class _Wake(asyncio.Future[None]):
    """The future that an idle task waits for. Cancelling the task cancels it, whichever way that is called."""

    def __init__(self, runner: Suspended, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._runner = runner

    def cancel(self, msg: Any | None = None) -> bool:
        self._runner.task.touched = True
        return super().cancel(msg)


class TaskPool:
    """The pool of one event loop. Make it while the loop runs; its coroutines copy the context in which it is made."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._base = copy_context()
        self._idle: list[Suspended] = []
        self._is_closed = False
        self._entered: Suspended | None = None
        """The task that is entered, while it runs nothing."""
        self._task: Any = None
        """Its asyncio task."""
        self._strong = self._weak = 0
        """Reference counts of an entered task that only the pool knows; 0: not counted yet."""
        self.parked_counts = (0, 0)
        """The same for a task that is about to wait in the pool."""
        self.context: Context = self._base
        """The context (contextvars) of the coroutine that was started at once last, or that ended last."""
        self.probe: Suspended | None = self._start(asyncio.sleep(0), _ignore)
        """The task whose references are counted."""
        before = getweakrefcount(self.probe.task)
        unregister_task(self.probe.task)
        self._listed = before - getweakrefcount(self.probe.task)
        """Number of weak references that asyncio holds to list a task."""

    def run(self, coro: Coroutine[Any, Any, Any], done: OnDone, context: Context | None = None) -> Any:
        """Run a coroutine; its first step at once, if a task is idle.

        :param done: if it suspends, called later with its result and None, or with None and its exception; must not
            raise
        :param context: its context (contextvars), in which nothing may be running: that of a coroutine that has ended
        :returns: its result if it did not suspend; otherwise a `Suspended` that continues it
        :raises BaseException: raised by the coroutine if it did not suspend
        """
        runner = self._entered
        if runner is None:
            self.enter()
            if self._entered is None:
                return self._start(coro, done, context)
            try:
                return self.run(coro, done, context)
            finally:
                self.leave()
        if context is None:
            context = self._base.copy()
        self.context = context
        self._entered = None  # the coroutine may call this method
        error: BaseException | None = None
        try:
            outcome = context.run(runner.send, coro)
        except BaseException as exc:
            error = exc
            runner.renew()
            outcome = runner.outcome
        self._entered = runner
        if outcome is runner.outcome:
            result = outcome[0]
            outcome[0] = None
            # PERF: this isolates this coroutine from the next; it costs 30 ns.
            task = self._task
            strong, weak = getrefcount(task), getweakrefcount(task)
            if strong != self._strong or weak != self._weak or task.touched:
                self._suspect(runner, strong, weak)
            if error is not None:
                try:
                    raise error
                finally:
                    error = None
            return result
        self._take_out(runner)
        runner.take_over(context, done, outcome)
        return runner

    # PERF: entering and leaving a task takes as long as running a small coroutine.

    def enter(self) -> None:
        """Enter an idle task, if there is one, until `leave`, for any number of calls of `run`.

        Does nothing within a task: only one can be entered at a time.
        """
        if self._idle and self._entered is None and current_task(self._loop) is None:
            runner = self._idle[-1]
            if not runner.wake.done():  # otherwise it was cancelled, and is about to end
                self._enter(runner)

    def _enter(self, runner: Suspended) -> None:
        self._entered = runner
        self._task = runner.task
        enter_task(self._loop, runner.task)

    def leave(self) -> None:
        """Leave the entered task."""
        if self._entered is not None:
            leave_task(self._loop, self._task)
            self._entered = self._task = None

    def _suspect(self, runner: Suspended, strong: int, weak: int) -> None:
        """Other code knows the entered task: let it end, as the task of the one coroutine that it ran."""
        if runner is self.probe:
            self._strong, self._weak = strong, weak + self._listed
            return
        self._take_out(runner)
        runner.end()

    def count_entered(self) -> None:
        """The probe is idle: count its references while it is entered, and let it end."""
        probe = self.probe
        if probe is None or self._is_closed or current_task(self._loop) is not None:
            return
        self._enter(probe)
        try:
            self.run(_nothing(), _ignore)
        finally:
            self.leave()
            self.probe = None
            probe.end()
            self._start(asyncio.sleep(0), _ignore)  # the first task that waits in the pool

    def _take_out(self, runner: Suspended) -> None:
        """Remove the entered task from the pool; another may take its place."""
        self.leave()
        idle = self._idle
        if idle[-1] is runner:  # PERF: as nearly always; `remove` would look at all the others first
            idle.pop()
        else:
            idle.remove(runner)
        self.enter()

    def _start(self, coro: Coroutine[Any, Any, Any], done: OnDone, context: Context | None = None) -> Suspended:
        runner = Suspended(self)
        runner.start(self._loop, coro, context or self.new_context(), done)
        return runner

    def new_context(self) -> Context:
        """Return a context for a coroutine."""
        return self._base.copy()

    def park(self, runner: Suspended) -> asyncio.Future[None]:
        """Add a task that is idle; return the future that it waits for."""
        self._idle.append(runner)
        runner.context = None
        return _Wake(runner, self._loop)

    def park_probe(self, counts: tuple[int, int]) -> asyncio.Future[None]:
        """Store the reference counts of the probe; return the future that it waits for."""
        self.parked_counts = counts[0], counts[1] + self._listed
        self._loop.call_soon(self.count_entered)
        assert self.probe is not None
        return _Wake(self.probe, self._loop)

    def forget(self, runner: Suspended) -> None:
        """Remove a task that was cancelled while it was idle."""
        if runner in self._idle:
            self._idle.remove(runner)

    @property
    def is_full(self) -> bool:
        """Whether no more tasks may wait: the limit is reached, or the pool is closed."""
        return self._is_closed or len(self._idle) >= MAX_POOL

    @property
    def idle(self) -> int:
        """Number of idle tasks."""
        return len(self._idle)

    def close(self) -> None:
        """End the idle tasks, and each other task once its coroutine has ended."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        if self.probe is not None and self.probe.is_parked:
            idle.append(self.probe)
        self.probe = None
        for runner in idle:
            runner.end()


class Suspended:
    """A task of the pool, and the coroutine that it continues."""

    __slots__ = ("_driver", "_job", "context", "outcome", "pool", "send", "task", "wake")

    context: Context | None
    """The coroutine's context (contextvars); None while another coroutine runs its first step as this task."""

    task: PooledTask
    wake: asyncio.Future[None]
    """The future that the task waits for while it is idle."""
    send: Callable[[Any], Any]
    """The driver's `send`: passes it a coroutine to run, or what the task sends to the coroutine."""

    def __init__(self, pool: TaskPool) -> None:
        self.pool = pool
        self._job: tuple[Context, OnDone, Any] | None = None
        self.renew()

    def renew(self) -> None:
        """Make a new driver; the exception of a coroutine ended the previous one."""
        self.outcome: list[Any] = [None]
        """What the driver yields when a coroutine has ended, which nothing else can yield; it holds the result."""
        self._driver = drive(self.outcome)
        self.send = self._driver.send
        self.send(None)

    def start(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], context: Context, done: OnDone
    ) -> None:
        """Make the task, and start it with a coroutine as any task would."""
        self.context = context
        self.task = PooledTask(self._work(coro, context, done), loop, self.pool.new_context())
        set_attribute(self.task, "runner", self)

    def take_over(self, context: Context, done: OnDone, yielded: Any) -> None:
        """Let the task continue the coroutine that its driver runs, whose first step yielded `yielded`."""
        self._job = (context, done, yielded)
        self.context = context
        if not self.wake.done():  # it is done if the coroutine cancelled its own task, which then wakes up anyway
            self.wake.set_result(None)

    @property
    def is_parked(self) -> bool:
        """Whether the task has ever been idle."""
        return hasattr(self, "wake")

    def cancel(self) -> None:
        """Cancel the coroutine."""
        self.task.cancel()

    def end(self) -> None:
        """End the idle task."""
        if not self.wake.done():
            self.wake.set_result(None)

    async def _work(self, coro: Coroutine[Any, Any, Any], context: Context, done: OnDone) -> None:
        pool = self.pool
        self.task.begin()
        if not await self._finish(first_step(self._driver, self.outcome, coro, context), context, done):
            return
        del coro, context, done
        while True:
            counts = getrefcount(self.task), getweakrefcount(self.task)
            if pool.probe is self and not pool.is_full:
                self.wake = pool.park_probe(counts)
            elif self.task.touched or self.task.cancelling() or counts != pool.parked_counts or pool.is_full:
                return
            else:
                self.wake = pool.park(self)
            self._job = None
            cancelled: BaseException | None = None
            try:
                await self.wake
            except asyncio.CancelledError as exc:
                if self._job is None:
                    pool.forget(self)
                    raise
                cancelled = exc
            if self._job is None:  # ended
                return
            context, done, yielded = self._job
            self._job = None
            rest = go_on(self._driver, self.outcome, context, yielded, cancelled)
            cancelled = None
            if not await self._finish(rest, context, done):
                return
            del context, done, yielded, rest

    async def _finish(self, rest: Any, context: Context, done: OnDone) -> bool:
        """Wait for the rest of a coroutine, and pass its outcome to `done`.

        :returns: whether the task may be reused
        :raises CancelledError: the task was cancelled, and ends cancelled
        """
        try:
            result = await rest
        except BaseException as exc:
            # No exception may end the task: SystemExit and KeyboardInterrupt would end the loop with it.
            self.renew()
            self.pool.context = context
            done(None, exc)
            if isinstance(exc, asyncio.CancelledError) and self.task.cancelling():
                raise
            return not isinstance(exc, GeneratorExit)  # the coroutine is being closed: no further step
        self.pool.context = context
        done(result, None)
        return True


def suspended_coroutine(frame: types.FrameType) -> Any:
    """Return the coroutine that a pooled task continues, given the frame of the task's own coroutine, or None."""
    if frame.f_code is not Suspended._work.__code__:  # noqa: SLF001
        return None
    runner: Suspended = frame.f_locals["self"]
    driver: Any = runner._driver  # noqa: SLF001
    return driver.gi_yieldfrom


async def _nothing() -> None:
    """Do nothing."""


def _ignore(_result: Any, _error: BaseException | None) -> None:
    """Ignore the outcome."""
