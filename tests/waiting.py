"""Waiting for a condition, with a deadline; never for time to pass."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_never = threading.Event()


def wait_for(condition: Callable[[], T], seconds: float = 20, what: str = "") -> T:
    """Return the condition's value as soon as it is true.

    :param what: what it waits for, in words; otherwise its source is shown
    :raises AssertionError: it is not, in time
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or _source(condition)}")
        _never.wait(0.01)


def _source(condition: Callable[[], object]) -> str:
    """Return the line that holds a lambda, or the lines of a function."""
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):  # a method of C, or a partial
        return repr(condition)
