"""Runs the event loop of a listener to its end: nothing that the application does ends it early."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .after_fork import end_if_forked
from .last_resort import exit_code_of
from .task_dump import in_words
from .tracebacks import without_our_frames

__all__ = ["close_loop", "run_main"]

logger = logging.getLogger("tiny_listener")

CLOSING = 0.2
"""Minimum seconds that remaining tasks get to end when the loop is closed."""


def run_main(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, None], on_leave: Callable[[int], object]
) -> None:
    """Run a coroutine to its end, even if application code leaves the loop before that.

    asyncio lets SystemExit and KeyboardInterrupt of any task or callback escape from `run_until_complete`, and the loop
    stops with everything in flight. Here it continues.

    :param on_leave: called in the loop after such an exception, with its exit code
    :raises BaseException: raised by the coroutine; or the first exception that left the loop, once the coroutine has
        ended
    """
    pid = os.getpid()
    main = loop.create_task(coro)
    first: BaseException | None = None
    while not main.done():
        try:
            loop.run_until_complete(main)
        except (SystemExit, KeyboardInterrupt) as exc:
            end_if_forked(pid, exit_code_of(exc))
            if not main.done():
                _log_exit(exc, "draining, then ")
                loop.call_soon(on_leave, exit_code_of(first or exc))
            elif first is None and isinstance(exc, SystemExit):
                _log_exit(exc)
            first = first or exc
        except BaseException:
            end_if_forked(pid, 1)
            raise
    if first is not None:
        if not main.cancelled():
            main.exception()  # mark it as retrieved: the first exception is raised instead
        raise first


def _log_exit(exc: BaseException, then: str = "") -> None:
    what = f"called sys.exit({exc.code!r})" if isinstance(exc, SystemExit) else f"raised {type(exc).__name__}"
    logger.critical(
        "The application %s: %sexit code %d", what, then, exit_code_of(exc), exc_info=without_our_frames(exc)
    )


def close_loop(loop: asyncio.AbstractEventLoop, limit: float) -> None:
    """Cancel what still runs in a loop and close it, as `asyncio.run` does, but within a time limit.

    What does not end is logged and left behind.

    :param limit: seconds for tasks, asynchronous generators and threads of the default executor together
    """
    deadline = time.monotonic() + max(CLOSING, limit)
    left: list[str] = []
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            _finish(loop, _gather(tasks, deadline, left))
        for what, end in (
            ("an asynchronous generator", loop.shutdown_asyncgens()),
            ("a thread of the default executor", _shut_executor(loop)),
        ):
            _finish(loop, _bounded(end, deadline, what, left))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    if left:
        logger.warning("Left behind after the graceful timeout: %s", ", ".join(left))


def _finish(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, even if other tasks raise exceptions that leave the loop."""
    task = loop.create_task(coro)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as exc:
            _report(loop, exc, None)


async def _gather(tasks: set[asyncio.Task[Any]], deadline: float, left: list[str]) -> None:
    """Wait for cancelled tasks."""
    done, pending = await asyncio.wait(tasks, timeout=max(0.0, deadline - time.monotonic()))
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            _report(task.get_loop(), error, task)
    for task in pending:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - it is logged once, below
        # A coroutine that ignores its cancellation may ignore GeneratorExit too. Without a loop it would then never
        # suspend again, and its finalization would block the interpreter. So it is never finalized.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))
    left += [in_words(task) for task in pending]


def _report(loop: asyncio.AbstractEventLoop, error: BaseException, task: asyncio.Task[Any] | None) -> None:
    context: dict[str, Any] = {"message": "A task failed during shutdown", "exception": without_our_frames(error)}
    loop.call_exception_handler({**context, "task": task} if task is not None else context)


async def _bounded(end: Coroutine[Any, Any, Any], deadline: float, what: str, left: list[str]) -> None:
    """Wait until a part of the loop has ended; record it if it does not."""
    ending = asyncio.ensure_future(end)
    await asyncio.wait({ending}, timeout=max(0.0, deadline - time.monotonic()))
    if not ending.done():
        ending.cancel()
        left.append(what)
        await asyncio.wait({ending}, timeout=0)
        ending._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001


async def _shut_executor(loop: Any) -> None:
    """Wait for the threads of the loop's default executor, in a thread that need not end."""
    executor: ThreadPoolExecutor | None = getattr(loop, "executor", None)
    if executor is None:  # a loop of the application's own
        await loop.shutdown_default_executor()
        return
    executor.shutdown(wait=False)
    threads = [thread for thread in executor._threads if thread.is_alive()]  # noqa: SLF001
    if not threads:
        return
    ended: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ended.done():
            ended.set_result(None)

    def join() -> None:
        for thread in threads:
            thread.join()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits any more
            loop.call_soon_threadsafe(tell)

    threading.Thread(target=join, daemon=True, name="joins the default executor").start()
    try:
        await ended
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
