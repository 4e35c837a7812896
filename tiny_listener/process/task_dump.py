"""Where the tasks of a loop wait: logged for a process that hangs, or on request."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from .task_pool import suspended_coroutine

__all__ = ["in_words", "log_tasks", "where_tasks_are"]

logger = logging.getLogger("tiny_listener")

MAX_TASKS = 100
"""Maximum number of tasks that are logged. With more tasks, the same few stacks repeat."""
OURS = ("tiny_listener", "tiny_listener_supervisor", "asyncio", "uvloop")


def where_tasks_are(loop: asyncio.AbstractEventLoop) -> list[tuple[str, list[str]]]:
    """Return the names of the tasks that wait in application code, and the calls of each, the innermost last.

    The running task is not included: its calls are the stack of the thread.
    """
    found = []
    for task in asyncio.all_tasks(loop) - {asyncio.current_task(loop)}:
        frames = _frames(task.get_coro())
        if not all(map(_is_ours, frames)):
            calls = [_place(frame.f_code, frame.f_lineno) for frame in frames]
            found.append((task.get_name(), calls))
    return sorted(found, key=lambda one: (len(one[0]), one[0]))  # "Task-9" before "Task-10"


def in_words(task: asyncio.Task[Any]) -> str:
    """Name a task and its outermost call in application code."""
    frames = _frames(task.get_coro())
    theirs = next((frame for frame in frames if not _is_ours(frame)), None)
    return f"task {task.get_name()!r}" + (f", in {_place(theirs.f_code, theirs.f_lineno)}" if theirs else "")


def log_tasks() -> None:
    """Log where the tasks of the running loop wait, one line each. Does nothing outside of a loop."""
    try:
        tasks = where_tasks_are(asyncio.get_running_loop())
    except RuntimeError:
        return
    for name, calls in tasks[:MAX_TASKS]:
        logger.warning("Task %s waits: %s", name, " > ".join(calls), extra={"task": name})
    if len(tasks) > MAX_TASKS:
        logger.warning("and %d more tasks", len(tasks) - MAX_TASKS)


def _frames(awaited: Any) -> list[FrameType]:
    """Return the frames of a chain of coroutines and generators, each of which waits for the next."""
    frames: list[FrameType] = []
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:  # a future, or an iterator of a C type
            break
        inner = suspended_coroutine(frame)
        if inner is not None:
            awaited = inner
            continue
        frames.append(frame)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return frames


def _is_ours(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in OURS


def _place(code: CodeType, line: int | None) -> str:
    return f"{code.co_qualname} ({Path(code.co_filename).name}:{line})"
