"""Tasks that wait in a pool: a coroutine that does not suspend needs none of its own.

Making a task for each request costs more than most handlers do. Here the first step of a coroutine runs at once,
in the name of a task that waits in the pool: `asyncio.current_task()` is that task. When the coroutine ends in
that step, the task stays in the pool, untouched, and the next coroutine may run in its name at once. When it
suspends, the task wakes and goes on with it: it yields what the coroutine yielded, so that timeouts, task groups and
cancellation see one ordinary task from beginning to end. Each coroutine has a copied context of its own (contextvars),
in both places.

What drives the coroutines of one task is a generator that never ends, `_drive`: a coroutine's own end is a
StopIteration, and to raise and catch one costs as much as the rest of a step; a `yield from` sees it without.
"""

from __future__ import annotations

import asyncio
import contextlib
import types
from asyncio.tasks import _enter_task, _leave_task  # the only way to run a step in a task's name
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, NamedTuple

__all__ = ["Pending", "Runners", "coroutine_in_hand"]

MAX_POOL = 256
"""Idle tasks that are kept; each takes about 2 KiB."""

Done = Callable[[Any, BaseException | None], None]


class Pending(NamedTuple):
    """What a coroutine that suspended has instead of a result."""

    task: asyncio.Task[None]


class Runners:
    """The pool of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: list[_Runner] = []
        self._entered: _Runner | None = None
        """The one in whose name this is, while it runs nothing."""

    def run(self, coro: Coroutine[Any, Any, Any], done: Done) -> Any:
        """Run a coroutine; its first step at once, if a task is at hand.

        :param done: called later with its result and None, or with None and what it raised, if it suspends
        :returns: its result if it did not suspend; else, as a `Pending`, the task that goes on with it
        :raises BaseException: what it raised if it did not suspend
        """
        runner = self._entered
        if runner is None:
            self.enter()
            if self._entered is None:
                return self._start(coro, done)
            try:
                return self.run(coro, done)
            finally:
                self.leave()
        context = copy_context()
        self._entered = None  # what runs now may come back here
        try:
            outcome = context.run(runner.send, coro)
        except BaseException:
            self._entered = runner
            runner.renew()
            self._look_after(runner)
            raise
        self._entered = runner
        if type(outcome) is tuple:
            if runner.wake.done():
                self._look_after(runner)
            return outcome[0]
        self._let_go(runner)
        runner.take_over(context, done, outcome)
        return Pending(runner.task)

    # PERF: to enter a task and to leave it takes as long as to run a coroutine that does little.

    def enter(self) -> None:
        """Be in the name of an idle task until `leave`, if there is one, for many a `run`."""
        if self._idle and self._entered is None:
            runner = self._idle[-1]
            with contextlib.suppress(RuntimeError):  # called from within a task: only one can be entered at a time
                _enter_task(self._loop, runner.task)
                self._entered = runner

    def leave(self) -> None:
        """Be in no task's name any more."""
        if self._entered is not None:
            _leave_task(self._loop, self._entered.task)
            self._entered = None

    def _let_go(self, runner: _Runner) -> None:
        """Take the task that is entered out of the pool; another may take its place."""
        self.leave()
        self._idle.remove(runner)
        self.enter()

    def _start(self, coro: Coroutine[Any, Any, Any], done: Done) -> Pending:
        runner = _Runner(self)
        runner.start(self._loop, coro, copy_context(), done)
        return Pending(runner.task)

    def _look_after(self, runner: _Runner) -> None:
        """Let go of a task that the coroutine which ran in its name cancelled."""
        if runner.wake.done():
            self._let_go(runner)
            runner.retire()

    def park(self, runner: _Runner) -> asyncio.Future[None]:
        """Take a task in that has nothing to do; return what it waits for."""
        self._idle.append(runner)
        return self._loop.create_future()

    @property
    def is_full(self) -> bool:
        """Whether enough tasks wait."""
        return len(self._idle) >= MAX_POOL

    def close(self) -> None:
        """End the idle tasks."""
        for runner in self._idle:
            runner.retire()
        self._idle.clear()


class _Runner:
    """One task of the pool."""

    __slots__ = ("_driver", "_job", "_pool", "send", "task", "wake")

    task: asyncio.Task[None]
    wake: asyncio.Future[None]
    """What the task waits for while it is idle; done when it has been cancelled."""
    send: Callable[[Any], Any]
    """That of the driver: takes a coroutine on, or sends it what its task sends."""

    def __init__(self, pool: Runners) -> None:
        self._pool = pool
        self._job: tuple[Context, Done, Any] | None = None
        self.renew()

    def renew(self) -> None:
        """Make a new driver; the last one ended with the error of a coroutine."""
        self._driver = _drive()
        self.send = self._driver.send
        self.send(None)

    def start(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], context: Context, done: Done
    ) -> None:
        """Make the task, and let it begin with a coroutine as any task would."""
        self.task = loop.create_task(self._work(coro, context, done))

    def take_over(self, context: Context, done: Done, yielded: Any) -> None:
        """Let the task go on with the coroutine that its driver took on, whose first step yielded `yielded`."""
        self._job = (context, done, yielded)
        if not self.wake.done():  # it is done when the coroutine cancelled its own task: then that wakes it
            self.wake.set_result(None)

    def retire(self) -> None:
        """End the task."""
        self.task.cancel()

    async def _work(self, coro: Coroutine[Any, Any, Any], context: Context, done: Done) -> None:
        await self._finish(_first_step(self._driver, coro, context), done)
        while True:
            self.wake = self._pool.park(self)
            self._job = None
            cancelled: BaseException | None = None
            try:
                await self.wake
            except asyncio.CancelledError as exc:
                cancelled = exc
            if self._job is None:  # retired
                return
            context, done, yielded = self._job
            await self._finish(_go_on(self._driver, context, yielded, cancelled), done)
            if self._pool.is_full:
                return

    async def _finish(self, rest: Any, done: Done) -> None:
        try:
            result = await rest
        except asyncio.CancelledError as exc:
            self.renew()
            done(None, exc)
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        except Exception as exc:
            self.renew()
            done(None, exc)
        else:
            done(result, None)


def coroutine_in_hand(frame: types.FrameType) -> Any:
    """Return the coroutine that a task of a pool goes on with, given the frame of the task's own coroutine, or None."""
    if frame.f_code is not _Runner._work.__code__:  # noqa: SLF001
        return None
    runner: _Runner = frame.f_locals["self"]
    driver: Any = runner._driver  # noqa: SLF001
    return driver.gi_yieldfrom


Driver = Generator[Any, Any, None]


@types.coroutine
def _drive() -> Driver:
    """Run coroutines, one after the other: take one, yield what it yields, then a tuple of its result, and take the
    next. What a coroutine raises ends the driver.
    """
    outcome: tuple[Any] | None = None
    while True:
        coro = yield outcome
        outcome = ((yield from coro),)


@types.coroutine
def _first_step(driver: Driver, coro: Coroutine[Any, Any, Any], context: Context) -> Generator[Any, Any, Any]:
    yielded = context.run(driver.send, coro)
    return (yield from _go_on(driver, context, yielded, None))


@types.coroutine
def _go_on(driver: Driver, context: Context, yielded: Any, cancelled: BaseException | None) -> Generator[Any, Any, Any]:
    """Yield to the task what the driver's coroutine yields, and give it what the task sends or throws."""
    if cancelled is not None:
        # The cancellation came between the first step and now: it is the coroutine's, not the pool's.
        _abandon(yielded)
        yielded = context.run(driver.throw, cancelled)
    while type(yielded) is not tuple:
        try:
            value = yield yielded
        except BaseException as exc:
            yielded = context.run(driver.throw, exc)
        else:
            yielded = context.run(driver.send, value)
    return yielded[0]


def _abandon(future: Any) -> None:
    """Let go of a future that a coroutine waits for, as a task does that is cancelled while it waits."""
    if asyncio.isfuture(future):
        future._asyncio_future_blocking = False  # noqa: SLF001 - what a task does with what it waits for
        future.cancel()
