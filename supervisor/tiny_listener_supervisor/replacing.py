"""A new worker for an old one, one slot or a few at a time: the new one is ready before the old one drains."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .slot import State, about

if TYPE_CHECKING:
    from .rollout import Rollout
    from .slot import Slot, Worker

__all__ = ["Replacer"]

logger = logging.getLogger("tiny_listener.supervisor")

RELOAD = "reload"
"""Why slots are replaced a few at a time."""
RETRY_AFTER = 30.0
"""Seconds until a worker that is due is tried again, when its successor could not boot."""


class Replacer:
    """Gives slots successors: to a reload a few at a time, otherwise one after the other.

    :param rollout: hears which reload failed because a successor could not even be forked
    :param fork: forks a worker for a slot
    :param start: forks a worker into a slot that is empty
    :param let_go: lets a worker that was replaced finish what it has in hand
    :param is_stopping: whether nothing is replaced any more
    :param counts: by reason, those that were replaced
    :param batch: how many slots a reload replaces at a time
    :ivar version: how often a reload was asked for
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        rollout: Rollout,
        fork: Callable[[Slot], Worker],
        start: Callable[[Slot], None],
        let_go: Callable[[Slot, Worker], None],
        *,
        is_stopping: Callable[[], bool],
        counts: dict[str, int],
        batch: int = 1,
    ) -> None:
        self.version = 0
        self._slots = slots
        self._rollout = rollout
        self._fork = fork
        self._start = start
        self._let_go = let_go
        self._counts = counts
        self._is_stopping = is_stopping
        self._batch = batch
        self._due: deque[tuple[Slot, str]] = deque()
        self._replacing: dict[Slot, str] = {}

    def replace_all(self) -> None:
        """Replace every worker that there is: a reload."""
        # Slots that wait for their turn get the newest code anyway; those that had it are due again.
        waiting = {slot for slot, _ in self._due}
        for slot in self._slots:
            if slot not in waiting and not slot.retired:
                self._due.append((slot, RELOAD))
        self.replace_next()

    def replace(self, slot: Slot, reason: str) -> None:
        """Replace a slot's worker, when its turn comes."""
        if slot not in self._replacing and all(slot is not due for due, _ in self._due):
            self._due.append((slot, reason))
            self.replace_next()

    def replace_next(self) -> None:
        """Begin with whoever is due, if it need not wait for those that are being replaced."""
        while self._due and not self._is_stopping():
            slot, reason = self._due[0]
            if len(self._replacing) >= (self._batch if reason == RELOAD else 1):
                break
            self._due.popleft()
            if slot.is_ready:  # any other will start with the newest code as it is
                assert slot.worker is not None
                logger.info(
                    "Worker %d (pid %d) gets a successor: %s", slot.number, slot.worker.pid, reason,
                    extra={**about(slot, slot.worker), "reason": reason},
                )  # fmt: skip
                self._replacing[slot] = reason
                try:
                    slot.successor = self._fork(slot)
                except OSError as exc:  # such as EAGAIN of fork(2)
                    words = f"cannot be forked ({exc.strerror or exc})"
                    self._rollout.worker_failed(self.version, f"worker {slot.number} {words}")
                    self.give_up(slot, words)

    def hand_over(self, slot: Slot) -> None:
        """Let the successor serve, which is ready."""
        left = slot.promote()
        if left is not None:
            self._let_go(slot, left)
        reason = self._replacing.pop(slot, RELOAD)
        self._counts["reload" if reason == RELOAD else "recycle"] += 1
        self.replace_next()

    def end_what_boots(self) -> None:
        """End workers that may have read code from before a change; who develops does not wait for them."""
        for slot in self._slots:
            for worker in slot.workers():
                if worker.state is State.STARTING:
                    worker.doom("reload", "is out of date")
                    worker.process.kill()
            self._start(slot)

    def start_over(self, slot: Slot) -> None:
        """A worker did not boot, with code that is out of date since: the slot tries the newest."""
        self._replacing.pop(slot, None)
        self._start(slot)
        self.replace_next()

    def give_up(self, slot: Slot, words: str) -> None:
        """A successor could not boot: whoever serves goes on."""
        self._replacing.pop(slot, None)
        self._due.clear()
        slot.not_before = asyncio.get_running_loop().time() + RETRY_AFTER
        if slot.worker is None:
            self._start(slot)
        logger.error(
            "The new worker %d %s: the old ones keep serving", slot.number, words,
            extra={"slot": slot.number, "reason": words},
        )  # fmt: skip

    def abandon(self, slot: Slot, version: int, words: str, code: int) -> None:
        """A worker ended as soon as it was ready: if a reload brought it, those who still have the old code keep it.

        :param version: of the code that it had
        :param words: how it ended
        :param code: its exit code, or minus the number of the signal that killed it
        """
        if self._rollout.worker_failed(version, f"worker {slot.number} {words} as soon as it was ready", code):
            self._due.clear()
            logger.error(
                "Worker %d %s as soon as it was ready: those who have the old code keep serving", slot.number, words,
                extra={"slot": slot.number, "reason": words},
            )  # fmt: skip

    def forget(self, slot: Slot) -> None:
        """A slot is retired: nobody there is replaced, and whoever else is due need not wait for it."""
        self._due = deque(due for due in self._due if due[0] is not slot)
        self._replacing.pop(slot, None)
        self.replace_next()
