"""What happens after a worker ends unexpectedly: a restart after a backoff, or the end of the server."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..policy import MAX_DELAY, MAX_DELAY_ALONE, RestartBudget, restart_delay, workers_in_words
from .slot import WorkerState

if TYPE_CHECKING:
    from .slot import Slot

__all__ = ["GAVE_UP", "Restarts"]

logger = logging.getLogger("tiny_listener.supervisor")

GAVE_UP = 4
"""Exit code when more workers ended unexpectedly than `--max-restarts` allows."""


class Restarts:
    """Decides when to replace a worker that ended unexpectedly, and logs it.

    :param budget: how many workers may end unexpectedly
    :param counts: replaced workers, by reason
    :param chance: returns a random number from 0 to 1
    """

    def __init__(
        self, budget: RestartBudget, counts: dict[str, int], chance: Callable[[], float] = random.random
    ) -> None:
        self._budget = budget
        self._counts = counts
        self._chance = chance

    def after_no_fork(self, slot: Slot, words: str) -> float:
        """Return the seconds until a failed fork is retried. It does not count against the budget."""
        slot.failures, delay = restart_delay(max(1, slot.failures), 0.0, self._chance())
        logger.error(
            "Worker %d %s; trying again in %.2g s", slot.number, words, delay,
            extra={"slot": slot.number, "reason": words},
        )  # fmt: skip
        return delay

    def after(
        self, slot: Slot, words: str, was: WorkerState, lived: float, now: float, *, alone: bool, pid: int, cause: str
    ) -> float | None:
        """Return the seconds until the slot's next worker starts, or None if the budget is exceeded.

        :param words: how the worker ended
        :param was: its state before it ended
        :param lived: seconds
        :param now: on the loop's clock
        :param alone: whether no other worker serves
        :param pid: the worker's, for the log
        :param cause: one of `RESTART_REASONS`
        """
        slot.restarts += 1
        # Restarting sooner helps nobody if the worker never became ready: the cause may persist.
        longest = MAX_DELAY_ALONE if alone and was is not WorkerState.STARTING else MAX_DELAY
        slot.failures, delay = restart_delay(slot.failures, lived, self._chance(), longest)
        budget = self._budget
        over = budget.spend(now)
        then = "no restart" if over else f"the next one starts {f'in {delay:.2g} s' if delay else 'now'}"
        ready = "before it was ready" if was is WorkerState.STARTING else "while ready"
        logger.error(
            "Worker %d %s after %.1f s, %s; %s", slot.number, words, lived, ready, then,
            extra={"slot": slot.number, "pid": pid, "reason": words, "duration": round(lived, 3)},
        )  # fmt: skip
        if not over:
            self._counts[cause] += 1
            return delay
        logger.critical(
            "%s ended unexpectedly within %g s, and --max-restarts is %d: giving up, with exit code %d",
            workers_in_words(budget.spent), budget.window, budget.limit, GAVE_UP,
        )  # fmt: skip
        return None
