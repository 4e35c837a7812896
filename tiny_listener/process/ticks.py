"""Timers of one process that come at the same instants, so that an idle one wakes once for all of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from math import floor

__all__ = ["call_at_next_tick", "next_tick"]

GOLDEN = 0.6180339887498949
"""Its multiples are spread evenly over the second, whatever numbers are taken."""


def next_tick(now: float, period: float, phase: float) -> float:
    """Return when the next tick is: a whole number of periods after the phase, and more than half a period from now.

    :param now: on any clock, in seconds, as is the result
    """
    return (floor((now - phase) / period + 0.5) + 1) * period + phase


def call_at_next_tick(
    loop: asyncio.AbstractEventLoop, period: float, callback: Callable[[], object]
) -> asyncio.TimerHandle:
    """Call a function at the next tick: in this process all of one period are at one instant; elsewhere at another.

    :param period: seconds
    """
    phase = os.getpid() * GOLDEN % 1.0
    return loop.call_at(next_tick(loop.time(), period, phase), callback)
