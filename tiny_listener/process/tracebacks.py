"""Tracebacks of application errors, without frames of the framework."""

from __future__ import annotations

import traceback
from types import TracebackType

from ..errors import ListenerError

__all__ = ["format_without_our_frames", "without_our_frames"]

OURS = frozenset(
    {"tiny_listener", "tiny_listener_supervisor", "importlib", "multiprocess", "asyncio", "uvloop", "click"}
)
"""Packages whose frames lead to the application's frames, and say nothing about its error."""
REFUSALS = (ListenerError, TypeError, ValueError)
"""Exceptions that refuse what an application asked for: the application's own line shows where. Others may be our bugs.
"""


def without_our_frames(error: BaseException) -> BaseException:
    """Remove our own frames from the top of a traceback: an application error starts in the application.

    If no frame belongs to the application the traceback stays as it is: it may be our bug.
    """
    frames = _first_of_others(error.__traceback__)
    return error if frames is None else error.with_traceback(frames)


def format_without_our_frames(error: BaseException) -> str:
    """Format a traceback that starts and, if something was refused, ends with frames of the application."""
    frames = _first_of_others(error.__traceback__)
    if frames is None and not isinstance(error, SyntaxError):
        frames = error.__traceback__
    described = traceback.TracebackException(type(error), error, frames)
    if isinstance(error, REFUSALS) and frames is not None:
        last = max((n for n, frame in enumerate(_each(frames)) if not _is_ours(frame)), default=-1)
        if last >= 0:
            described.stack = traceback.StackSummary.from_list(described.stack[: last + 1])
    return "".join(described.format())


def _first_of_others(frames: TracebackType | None) -> TracebackType | None:
    return next((frame for frame in _each(frames) if not _is_ours(frame)), None)


def _each(frames: TracebackType | None) -> list[TracebackType]:
    found = []
    while frames is not None:
        found.append(frames)
        frames = frames.tb_next
    return found


def _is_ours(frame: TracebackType) -> bool:
    name: str = frame.tb_frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in OURS
