"""How many users there are at which time of a run. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["SHAPES", "users_at"]

Shape = Callable[[float], float]
"""Share of the users by the share of the time that has passed, both from 0 to 1."""


def _flat(_passed: float) -> float:
    return 1.0


def _steps(passed: float) -> float:
    return (math.floor(passed * 5) + 1) / 5


def _spike(passed: float) -> float:
    return 1.0 if 0.4 <= passed < 0.6 else 0.2


def _waves(passed: float) -> float:
    return 0.1 + 0.9 * math.sin(2 * math.pi * passed) ** 2


def _soak(passed: float) -> float:
    return min(1.0, passed / 0.02, (1.0 - passed) / 0.02)


SHAPES: dict[str, Shape] = {"flat": _flat, "steps": _steps, "spike": _spike, "waves": _waves, "soak": _soak}
"""flat: all users all the time; steps: five equal steps up; spike: a fifth of them, and all from 40 to 60 %;
waves: up and down twice; soak: all users, but for the first and the last fiftieth."""


def users_at(shape: str, passed: float, duration: float, users: int) -> int | None:
    """Return how many users there should be; None when the run is over.

    :param passed: seconds since its start
    :param duration: of the run, in seconds
    :param users: the most there are
    """
    share = passed / duration
    if share >= 1:
        return None
    return max(1, round(users * SHAPES[shape](share)))
