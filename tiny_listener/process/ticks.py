"""Timers of one process that fire at the same instants, so that an idle process wakes up once for all of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from math import floor

__all__ = ["call_at_next_tick", "next_tick"]

GOLDEN = 0.6180339887498949
"""Its multiples are evenly distributed over the second, whatever numbers are used."""


def next_tick(now: float, period: float, phase: float) -> float:
    """Return the next tick: a whole number of periods after the phase, and more than half a period from now.

    :param now: on any clock, in seconds, as is the result
    """
    return (floor((now - phase) / period + 0.5) + 1) * period + phase


def call_at_next_tick(
    loop: asyncio.AbstractEventLoop, period: float, callback: Callable[[], object]
) -> asyncio.TimerHandle:
    """Call a function at the next tick. Within a process, all ticks with the same period are simultaneous; other
    processes have other ticks.

    :param period: seconds
    """
    phase = os.getpid() * GOLDEN % 1.0
    return loop.call_at(next_tick(loop.time(), period, phase), callback)
