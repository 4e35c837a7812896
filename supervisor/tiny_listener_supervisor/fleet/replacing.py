"""Replaces workers. The new worker is ready, and has passed its probation, before the old one drains.

A reload begins with one slot, or a few (`--reload-batch`). No other slot gets new code until a worker with it has
passed. Then the others follow, with as many workers booting at the same time as the batch allows; each old worker
drains when its own successor has passed. If one fails, all successors that have not passed are withdrawn, and the slots
whose workers serve old code keep it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .slot import WorkerState, about

if TYPE_CHECKING:
    from .probation import Probation
    from .reload_status import Rollout
    from .slot import Slot, Worker
    from .starting import Starter
    from .stopping import Ender

__all__ = ["Replacer", "may_begin"]

logger = logging.getLogger("tiny_listener.supervisor")

RELOAD = "reload"
"""The reason for which a batch of slots is replaced at the same time."""
RETRY_AFTER = 30.0
"""Seconds until a worker that is due for replacement is tried again after its successor failed to boot."""


def may_begin(reason: str, batch: int, *, booting: int, on_probation: int, replacing: int, proven: bool) -> bool:
    """Decide whether one more slot may get a successor now.

    :param reason: why it is due; only a reload replaces several slots at the same time
    :param batch: number of slots that a reload replaces at the same time
    :param booting: workers with the newest code that are not ready; older code may hang, and is not waited for
    :param on_probation: workers with the newest code that are ready, and have not passed
    :param replacing: slots with a successor that has not taken over
    :param proven: whether any worker with the newest code has passed
    """
    if reason != RELOAD:
        return replacing == 0
    return (booting if proven else booting + on_probation) < batch


class Replacer:
    """Gives slots successors: a batch at the same time in a reload, otherwise one after the other.

    :param rollout: told when a reload fails because a successor could not even be forked
    :param starter: forks successors, and workers into slots that are empty
    :param ender: drains workers that were replaced or withdrawn
    :param probation: of workers that are ready; None: they take over at once
    :param counts: number of replacements by reason
    :param batch: number of slots that a reload replaces at the same time
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        rollout: Rollout,
        starter: Starter,
        ender: Ender,
        probation: Probation | None,
        *,
        counts: dict[str, int],
        batch: int = 1,
    ) -> None:
        self._slots = slots
        self._rollout = rollout
        self._starter = starter
        self._ender = ender
        self._probation = probation
        self._counts = counts
        self._batch = batch
        self._proven = 0
        self._due: deque[tuple[Slot, str]] = deque()
        self._replacing: dict[Slot, str] = {}

    def replace_all(self) -> None:
        """Replace every worker: a reload."""
        # Code that is out of date by now need not be tried any longer. Its slots come first, so that reloads which
        # come faster than they end reach every slot.
        for slot in reversed(self._slots):
            if slot.successor is not None and slot.successor.state is WorkerState.READY:
                self._withdraw(slot)
                self._due.appendleft((slot, RELOAD))
        # Slots that wait for their turn get the newest code anyway; those that had it are due again.
        waiting = {slot for slot, _ in self._due}
        for slot in self._slots:
            self._end_boot(slot)
            if slot.is_empty:  # it may wait because of code that is out of date by now: the newest starts at once
                slot.failures = 0
                self._starter.start(slot)
            elif slot not in waiting and not slot.retired:
                self._due.append((slot, RELOAD))
        self.replace_next()

    def _end_boot(self, slot: Slot) -> None:
        """End a worker that boots with code from before a reload, in a slot where no worker serves. It may hang, and
        the newest code must not wait for that.
        """
        worker = slot.worker
        if worker is not None and worker.state is WorkerState.STARTING and worker.version < self._starter.version:
            slot.vacate()
            self._ender.drain_or_kill(slot, worker)

    def replace(self, slot: Slot, reason: str) -> None:
        """Replace the worker of a slot, when its turn comes."""
        if slot not in self._replacing and all(slot is not due for due, _ in self._due):
            self._due.append((slot, reason))
            self.replace_next()

    def replace_next(self) -> None:
        """Start to replace the slots that are due, unless they must wait for replacements in progress."""
        while self._due and not self._starter.stopped:
            slot, reason = self._due[0]
            if not self._may_begin(reason):
                break
            self._due.popleft()
            if slot.is_ready and not self._has_newest(slot, reason):  # any other will start with it as it is
                assert slot.worker is not None
                logger.info(
                    "Worker %d (pid %d) is being replaced: %s", slot.number, slot.worker.pid, reason,
                    extra={**about(slot, slot.worker), "reason": reason},
                )  # fmt: skip
                self._replacing[slot] = reason
                try:
                    slot.successor = self._starter.fork(slot)
                except OSError as exc:  # such as EAGAIN of fork(2)
                    words = f"cannot be forked ({exc.strerror or exc})"
                    self._rollout.worker_failed(self._starter.version, f"worker {slot.number} {words}")
                    self.give_up(slot, words)

    def _has_newest(self, slot: Slot, reason: str) -> bool:
        """Whether a slot that waits for a reload already has a worker with its code, because the old one ended."""
        return reason == RELOAD and slot.worker is not None and 0 < self._starter.version <= slot.worker.version

    def _may_begin(self, reason: str) -> bool:
        # Counted where they are, so that no end of a worker can leave a count behind that holds up the next reload.
        found = [worker for slot in self._slots for worker in (slot.worker, slot.successor) if worker is not None]
        newest = [worker for worker in found if worker.version == self._starter.version]
        booting = [worker for worker in newest if worker.state is WorkerState.STARTING]
        tried = [worker for worker in newest if worker.state is WorkerState.READY and worker.on_probation]
        return may_begin(
            reason,
            self._batch,
            booting=len(booting),
            on_probation=len(tried),
            replacing=len(self._replacing),
            proven=self._probation is None or self._proven >= self._starter.version,
        )

    def ready(self, slot: Slot, worker: Worker) -> None:
        """A worker is ready. It takes over now, or after its probation."""
        if worker is slot.successor:
            if self._probation is None or not slot.is_ready:  # the worker it was to replace serves no more
                if self._probation is not None:
                    self._probation.begin(slot, worker)
                self.hand_over(slot)
            elif worker.version < self._starter.version:  # the slot is due for newer code
                self._withdraw(slot)
                self.replace_next()
            else:
                self._probation.begin(slot, worker)
                self.replace_next()
        elif worker.version < self._starter.version:  # it may have read the code before the reload was asked for
            self.replace(slot, RELOAD)
        elif self._probation is not None and self._rollout.is_running:
            self._probation.begin(slot, worker)

    def passed(self, slot: Slot, worker: Worker) -> None:
        """A worker has passed its probation."""
        self._proven = max(self._proven, worker.version)
        if worker is slot.successor:
            self.hand_over(slot)
        else:
            self.replace_next()

    def hand_over(self, slot: Slot) -> None:
        """Let the ready successor take over the slot."""
        left = slot.promote()
        if left is not None:
            self._ender.drain_or_kill(slot, left)
        reason = self._replacing.pop(slot, RELOAD)
        self._counts["reload" if reason == RELOAD else "recycle"] += 1
        if slot.worker is not None and slot.worker.version < self._starter.version:
            self.replace(slot, RELOAD)
        self.replace_next()

    def step_in(self, slot: Slot) -> bool:
        """The serving worker is gone or drains. Let its successor take over if that is ready; return whether it is.

        Its probation goes on.
        """
        successor = slot.successor
        if successor is None or successor.state is not WorkerState.READY or successor.kill_reason is not None:
            return False
        self.hand_over(slot)
        return True

    def end_what_boots(self) -> None:
        """Kill booting workers that may have read code from before a change. With --reload nothing waits for them."""
        for slot in self._slots:
            for worker in slot.workers():
                if worker.state is WorkerState.STARTING:
                    worker.note_kill("reload", "is out of date")
                    worker.process.kill()

    def start_over(self, slot: Slot) -> None:
        """A worker with stale code did not boot: start one with the newest code."""
        self._replacing.pop(slot, None)
        self._starter.start(slot)
        self.replace_next()

    def give_up(self, slot: Slot, words: str) -> None:
        """A successor could not boot. The serving worker continues."""
        slot.not_before = asyncio.get_running_loop().time() + RETRY_AFTER
        self.fail_boot(slot, words)
        if slot.worker is None:
            self._starter.start(slot)

    def fail_boot(self, slot: Slot, words: str) -> None:
        """The newest code did not boot in this slot. No other slot gets it in this reload."""
        self.call_off()
        if any(other.is_ready for other in self._slots):
            logger.error(
                "The new worker %d %s: the old workers keep serving", slot.number, words,
                extra={"slot": slot.number, "reason": words},
            )  # fmt: skip

    def fail_probation(self, slot: Slot, worker: Worker, words: str, code: int) -> None:
        """A worker ended on probation. Slots with the old code keep it.

        :param words: how it ended
        :param code: its exit code, or minus the number of the signal that killed it; 0 unless it is known
        """
        worker.on_probation = False
        lived = asyncio.get_running_loop().time() - worker.ready_since
        failure = f"worker {slot.number} {words} as soon as it was ready"
        failed = self._rollout.worker_failed(worker.version, f"{failure} (within {lived:.2g} s, on probation)", code)
        if worker.version < self._starter.version or not (failed or slot in self._replacing):
            return  # of a reload that has ended, or that a newer one took the place of
        self.call_off()
        slot.not_before = asyncio.get_running_loop().time() + RETRY_AFTER
        logger.error(
            "Worker %d %s as soon as it was ready: the workers with the old code keep serving", slot.number, words,
            extra={"slot": slot.number, "pid": worker.pid, "reason": words, "duration": round(lived, 3)},
        )  # fmt: skip

    def call_off(self) -> None:
        """Cancel all replacements. Successors that have not taken over are withdrawn."""
        self._due.clear()
        for slot in self._slots:
            if slot.worker is not None:  # otherwise it is the only one that the slot has
                self._withdraw(slot)
        self._replacing.clear()

    def _withdraw(self, slot: Slot) -> None:
        """Drain a successor that has not taken over."""
        self._replacing.pop(slot, None)
        successor = slot.withdraw()
        if successor is not None:
            logger.info("Worker %d (pid %d) is withdrawn", slot.number, successor.pid, extra=about(slot, successor))
            self._ender.drain_or_kill(slot, successor)

    def forget(self, slot: Slot) -> None:
        """A slot is retired. It is not replaced, and other slots that are due do not wait for it."""
        self._due = deque(due for due in self._due if due[0] is not slot)
        self._replacing.pop(slot, None)
        self.replace_next()
