"""One worker more, one fewer, while the others serve.

The sockets of a slot that is left stay open: the kernel goes on putting connections into their queues
(SO_REUSEPORT), and closing them would reset whoever waits there. So the slot stays, retired: a sibling is lent its
sockets, until the slot has a worker again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..policy import workers_in_words
from .slot import Slot

if TYPE_CHECKING:
    from .slot import Worker

__all__ = ["MAX_WORKERS", "Scaler", "in_use", "slot_to_fill", "slot_to_leave", "why_not"]

logger = logging.getLogger("tiny_listener.supervisor")

MAX_WORKERS = 1024


def in_use(slots: Sequence[Slot]) -> list[Slot]:
    """Return the slots that are to have a worker."""
    return [slot for slot in slots if not slot.retired]


def why_not(wanted: int, *, stopping: bool, starting: bool) -> str | None:
    """Say why there cannot be so many workers now, in a line; None: there can."""
    if stopping or starting:
        return f"the number of workers stays while they are {'stopping' if stopping else 'starting'}"
    if wanted < 1:
        return "the last worker stays; to end the server, stop it"
    if wanted > MAX_WORKERS:
        return f"there are {MAX_WORKERS} workers, as many as there can be"
    return None


def slot_to_fill(slots: Sequence[Slot]) -> Slot | None:
    """Return the slot that gets the next worker: the lowest that is retired; None when that must be a new one."""
    return next((slot for slot in slots if slot.retired), None)


def slot_to_leave(slots: Sequence[Slot]) -> Slot:
    """Return the slot that loses its worker: the highest that has none ready, or else the highest."""
    return max(in_use(slots), key=lambda slot: (not slot.is_ready, slot.number))


class Scaler:
    """Changes the number of workers.

    :param slots: the supervisor's; retired ones stay in it
    :param start: forks a worker into a slot that is empty
    :param leave: called with a slot that was just retired, and the workers that are to drain
    """

    def __init__(
        self,
        slots: list[Slot],
        start: Callable[[Slot], None],
        leave: Callable[[Slot, list[Worker]], None],
    ) -> None:
        self._slots = slots
        self._start = start
        self._leave = leave

    def scale(self, wanted: int, cause: str, *, stopping: bool, starting: bool) -> str | None:
        """Have so many workers; return None, or the line that says why not.

        :param cause: for the log
        """
        now = len(in_use(self._slots))
        refusal = why_not(wanted, stopping=stopping, starting=starting)
        if refusal is not None:
            logger.warning("%s: %s", cause, refusal)
            return refusal
        logger.info("%s: %s in place of %d", cause, workers_in_words(wanted), now)
        while len(in_use(self._slots)) < wanted:
            if (refusal := self._add()) is not None:
                logger.error("%s: %s", cause, refusal)
                return refusal
        while len(in_use(self._slots)) > wanted:
            slot = slot_to_leave(self._slots)
            leaving = slot.retire()
            self._leave(slot, leaving)
        return None

    def _add(self) -> str | None:
        slot = slot_to_fill(self._slots)
        if slot is None:
            slot = Slot(len(self._slots))
            self._slots.append(slot)
        slot.fill()
        try:
            self._start(slot)
        except OSError as exc:  # such as EAGAIN of fork(2), and EMFILE
            slot.retire()
            return f"no worker more than {len(in_use(self._slots))}: {exc.strerror}"
        return None
