"""Waiting for a condition, with a deadline; never for time to pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_never = threading.Event()


def wait_for(condition: Callable[[], T], seconds: float = 20, what: str = "") -> T:
    """Return the condition's value as soon as it is true.

    :raises AssertionError: it is not, in time
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        _never.wait(0.01)
