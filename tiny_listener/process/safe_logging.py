"""Logging from where nothing may raise: the walls of the server, and what counts events.

`logging` catches what handlers raise, but not what filters do, and an exception may fail when its traceback is made:
both are code of the application's. Where such a thing is logged for one connection, no other may notice.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any

__all__ = ["forget_frames", "log_safely"]


def log_safely(logger: logging.Logger, level: int, message: str, *args: Any, **options: Any) -> None:
    """Log an event, as `logger.log` does; where that raises, say so in one line on stderr. Raises nothing."""
    try:
        logger.log(level, message, *args, **options)
    except BaseException as exc:
        with contextlib.suppress(BaseException):
            os.write(2, f"ERROR:    An event could not be logged ({type(exc).__name__}): {message!r}\n".encode())


def forget_frames(error: BaseException) -> None:
    """Let go of the frames that an exception went through: one that is raised again and again, such as a constant of a
    module, would keep all of its requests alive.
    """
    BaseException.with_traceback(error, None)
