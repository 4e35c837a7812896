"""Logging from places where nothing may raise: the walls between requests of the server, and the counting of events.

`logging` catches exceptions of handlers but not of filters, and formatting the traceback of an exception may fail: both
are application code. When one connection logs such an event, no other may be affected.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any

__all__ = ["forget_frames", "log_safely"]


def log_safely(logger: logging.Logger, level: int, message: str, *args: Any, **options: Any) -> None:
    """Log an event like `logger.log`. If that raises, write one line to stderr. Never raises."""
    try:
        logger.log(level, message, *args, **options)
    except BaseException as exc:
        with contextlib.suppress(BaseException):
            os.write(2, f"ERROR:    An event could not be logged ({type(exc).__name__}): {message!r}\n".encode())


def forget_frames(error: BaseException) -> None:
    """Drop the frames that an exception went through. An exception that is raised repeatedly, such as a module
    constant, would keep all of its requests alive.
    """
    BaseException.with_traceback(error, None)
