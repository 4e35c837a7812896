"""What follows on a worker's unplanned end: another one, sooner or later, or the end of the whole server."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..policy import MAX_DELAY, MAX_DELAY_ALONE, RestartBudget, restart_delay, workers_in_words
from .slot import State

if TYPE_CHECKING:
    from .slot import Slot

__all__ = ["GAVE_UP", "Restarts"]

logger = logging.getLogger("tiny_listener.supervisor")

GAVE_UP = 4
"""The exit code when more workers have ended than `--max-restarts` allows."""


class Restarts:
    """Decides when a worker that ended without a plan gets another in its place, and says so.

    :param budget: how many may end
    :param counts: by reason, those that were followed by another
    :param chance: returns a number from 0 to 1
    """

    def __init__(
        self, budget: RestartBudget, counts: dict[str, int], chance: Callable[[], float] = random.random
    ) -> None:
        self._budget = budget
        self._counts = counts
        self._chance = chance

    def after_no_fork(self, slot: Slot, words: str) -> float:
        """Return the seconds until a worker that could not be forked is tried again; it uses no budget up."""
        slot.failures, delay = restart_delay(max(1, slot.failures), 0.0, self._chance())
        logger.error(
            "Worker %d %s; the next try is in %.2g s", slot.number, words, delay,
            extra={"slot": slot.number, "reason": words},
        )  # fmt: skip
        return delay

    def after(
        self, slot: Slot, words: str, was: State, lived: float, now: float, *, alone: bool, pid: int, cause: str
    ) -> float | None:
        """Return the seconds until the slot's next worker starts, or None: the budget is used up.

        :param words: how the worker ended
        :param was: its state before
        :param lived: seconds
        :param now: on the loop's clock
        :param alone: whether no other worker serves
        :param pid: the worker's, for the log
        :param cause: one of `RESTART_REASONS`
        """
        slot.restarts += 1
        # One that was never ready serves nobody by coming sooner: what keeps it from it may last.
        longest = MAX_DELAY_ALONE if alone and was is not State.STARTING else MAX_DELAY
        slot.failures, delay = restart_delay(slot.failures, lived, self._chance(), longest)
        budget = self._budget
        over = budget.spend(now)
        then = "none follows" if over else f"the next one starts {f'in {delay:.2g} s' if delay else 'now'}"
        ready = "not ready" if was is State.STARTING else "ready"
        logger.error(
            "Worker %d %s, %s after %.1f s; %s", slot.number, words, ready, lived, then,
            extra={"slot": slot.number, "pid": pid, "reason": words, "duration": round(lived, 3)},
        )  # fmt: skip
        if not over:
            self._counts[cause] += 1
            return delay
        logger.critical(
            "%s ended unplanned within %g s, and --max-restarts is %d: giving up, with exit code %d",
            workers_in_words(budget.spent), budget.window, budget.limit, GAVE_UP,
        )  # fmt: skip
        return None
