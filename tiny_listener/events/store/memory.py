"""The store of events in memory: it ends with its process."""

from __future__ import annotations

import logging
import secrets
from collections import Counter

from .ops import Contents, Count, DeadLetter, Delete, DropDead, Insert, Op, SetHalted, Start, ToDead, Update

__all__ = ["MAX_DEAD", "MemoryStore"]

logger = logging.getLogger("tiny_listener")

MAX_DEAD = 10_000
"""Dead letters by default; the engine drops the oldest for a new one, and counts it no more."""
LETTER_SIZE = 400
"""Bytes of a dead letter in memory without its data, about."""
OF_THE_ENGINE = frozenset({Insert, Start, Update, Delete})
"""Operations on unsettled events. The engine has these in memory, and what is here twice would end at the same time."""


class MemoryStore:
    """Implements `Store` without a disk: it keeps what the engine does not, which is dead letters and counters.

    What the engine and it have survives the death of a worker, but not of their own process.

    :param max_dead: dead letters that the engine keeps here; None: all
    :ivar id: see `Store`
    """

    def __init__(self, *, max_dead: int | None = MAX_DEAD) -> None:
        self.id = secrets.token_hex(8)
        self._max_dead = max_dead
        self._dead: dict[int, DeadLetter] = {}
        self._halted: dict[str, int] = {}
        self._counts: dict[str, bytes] = {}
        self._next_dead = 1
        self._has_dropped = False

    def load(self, now: float, dedup_window: float) -> Contents:
        """Return what it keeps.

        :param now: not used: no id is kept here
        :param dedup_window: not used
        """
        return Contents(
            halted=dict(self._halted),
            dead=dict(Counter(letter.reason for letter in self._dead.values())),
            next_dead=self._next_dead,
            counts=dict(self._counts),
            max_dead=self._max_dead,
        )

    def commit(self, ops: list[Op]) -> None:
        """Apply operations in their order. It does not fail."""
        for op in ops:
            if type(op) not in OF_THE_ENGINE:
                self._apply(op)

    def _apply(self, op: Op) -> None:
        match op:
            case ToDead():
                self._keep(op.letter)
            case DropDead():
                self._dead.pop(op.number, None)
            case SetHalted():
                self._halted.pop(op.key, None)
                if op.number is not None:
                    self._halted[op.key] = op.number
            case Count():
                self._counts[op.route] = op.values
            case _:
                raise TypeError(f"no operation of a store: {op!r}")

    def _keep(self, letter: DeadLetter) -> None:
        self._dead[letter.number] = letter
        self._next_dead = max(self._next_dead, letter.number + 1)
        if self._max_dead is not None and len(self._dead) > self._max_dead and not self._has_dropped:
            self._has_dropped = True
            logger.warning(
                "The store of events in memory keeps %d dead letters, and drops the oldest ones from now on; "
                "a store on the disk keeps all",
                self._max_dead,
            )

    def dead_letters(
        self,
        *,
        reason: str | None = None,
        after: int = 0,
        limit: int = 100,
        id: str | None = None,  # noqa: A002
    ) -> list[DeadLetter]:
        """Return dead letters in the order in which they came; see `Store`."""
        found: list[DeadLetter] = []
        for number, letter in self._dead.items():
            if len(found) >= limit:
                break
            if number > after and reason in (None, letter.reason) and id in (None, letter.envelope.id):
                found.append(letter)
        return found

    def size(self, unsettled: int) -> int:
        """Return about how many bytes the events and the dead letters take; see `Store`."""
        return unsettled + sum(LETTER_SIZE + len(letter.envelope.data) for letter in self._dead.values())

    def tidy(self, now: float) -> None:
        """Do nothing: nothing waits to be done.

        :param now: seconds since 1970
        """

    def close(self) -> None:
        """Do nothing: a store in memory has nothing to close."""
