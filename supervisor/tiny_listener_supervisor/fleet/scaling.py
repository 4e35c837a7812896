"""Adds and removes workers while the others serve.

The sockets of a slot without a worker stay open. The kernel keeps queueing connections for them (SO_REUSEPORT), and
closing them would reset those that wait. So the slot stays, retired: a sibling takes over its sockets until the slot
has a worker again.
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
    """Return the slots that are meant to have a worker."""
    return [slot for slot in slots if not slot.retired]


def why_not(wanted: int, *, stopping: bool, starting: bool) -> str | None:
    """Return one line that says why the number of workers cannot be changed now; None: it can."""
    if stopping or starting:
        return f"cannot change the number of workers while they are {'stopping' if stopping else 'starting'}"
    if wanted < 1:
        return "cannot scale below 1 worker; to end the server, stop it"
    if wanted > MAX_WORKERS:
        return f"cannot scale above {MAX_WORKERS} workers"
    return None


def slot_to_fill(slots: Sequence[Slot]) -> Slot | None:
    """Return the slot for the next worker: the lowest retired one; None: a new slot is needed."""
    return next((slot for slot in slots if slot.retired), None)


def slot_to_leave(slots: Sequence[Slot]) -> Slot:
    """Return the slot that loses its worker: the highest one without a ready worker, else the highest."""
    return max(in_use(slots), key=lambda slot: (not slot.is_ready, slot.number))


class Scaler:
    """Changes the number of workers.

    :param slots: the supervisor's slots; retired ones stay in the list
    :param start: forks a worker into an empty slot
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
        """Set the number of workers. Return None, or one line that says why not.

        :param cause: for the log
        """
        now = len(in_use(self._slots))
        refusal = why_not(wanted, stopping=stopping, starting=starting)
        if refusal is not None:
            logger.warning("%s: %s", cause, refusal)
            return refusal
        logger.info("%s: scaling from %d to %s", cause, now, workers_in_words(wanted))
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
            return f"cannot start more than {workers_in_words(len(in_use(self._slots)))}: {exc.strerror}"
        return None
