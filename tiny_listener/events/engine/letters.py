"""Dead letters, and the keys that wait for an operator because of one. The letters themselves are in the store."""

from __future__ import annotations

from typing import Final

import msgspec

from ..counters import Counts
from ..envelope import HOLDS, Envelope
from ..life import Entry
from ..policy import Reason
from ..store.ops import Contents, DeadLetter, DropDead, SetHalted, ToDead
from .admission import Admission
from .state import EngineState

__all__ = ["REDRIVEN", "Letters", "as_new"]

REDRIVEN: Final = "tlredrive"
"""The attribute that counts how often an event was put back."""


class Letters:
    """Gives events up, and puts them back.

    :param state: of the engine
    :param admission: takes events in
    :param contents: what the store has
    :ivar by_reason: the number of letters that are kept
    :ivar halted: the number of the letter that a key waits for
    :ivar next: the number of the next letter
    """

    def __init__(self, state: EngineState, admission: Admission, contents: Contents) -> None:
        self._state: Final = state
        self._admission: Final = admission
        self.next = contents.next_dead
        self.by_reason: Final[dict[str, int]] = Counts(contents.dead)
        self.halted: Final[dict[str, int]] = dict(contents.halted)
        self._most: Final = contents.max_dead
        self._kept: Final[dict[int, Reason]] = {}
        self._halting: Final[dict[int, Reason]] = {}
        """The letters in the order in which they came, those of halted keys apart; only if the store has a limit."""
        for key, number in self.halted.items():
            state.schedule.halt(key, number)

    def add(self, entry: Entry, reason: Reason, now: float, *, halt: bool) -> None:
        """Keep an event that was given up.

        :param halt: whether its key then waits for an operator
        """
        number, self.next = self.next, self.next + 1
        letter = DeadLetter(
            number=number,
            seq=entry.seq,
            envelope=entry.envelope,
            reason=reason,
            error=entry.error or ("", ""),
            attempts=entry.attempts,
            crashes=entry.crashes,
            first_started=entry.first_started,
            died_at=now,
            slot=entry.slot,
        )
        self.by_reason[reason] += 1
        self._state.ops.append(ToDead(None if entry.is_acked else entry.seq, letter))
        key = entry.envelope.key
        if halt and entry.is_serial and key is not None:
            self._halt(key, number)
        if self._most is not None:
            (self._halting if key is not None and self.halted.get(key) == number else self._kept)[number] = reason
            if len(self._kept) + len(self._halting) > self._most:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Make room for a new letter. One that a key waits for is the last to go: an operator may want it put back."""
        letters = self._kept or self._halting
        number = next(iter(letters))
        self._forget(number, letters[number])

    def know(self, key: str, number: int | None) -> None:
        """Take note that a key is halted, or goes on, which is stored already."""
        if number is None:
            self.halted.pop(key, None)
        else:
            self.halted[key] = number
        self._state.schedule.halt(key, number)

    def _halt(self, key: str, number: int | None) -> None:
        if number is None:
            del self.halted[key]
        else:
            self.halted[key] = number
        self._state.ops.append(SetHalted(key, number))
        self._state.schedule.halt(key, number)

    def discard(self, letter: DeadLetter) -> None:
        """Delete a letter. The key that waits for it goes on."""
        self._forget(letter.number, letter.reason)
        self._go_on(letter)

    def redrive(self, letter: DeadLetter, now: float) -> None:
        """Put an event back, with no attempts: at the end of its key, but before all others if the key waits for it."""
        self._forget(letter.number, letter.reason)
        envelope, key = as_new(letter.envelope), letter.envelope.key
        is_first = key is not None and self.halted.get(key) == letter.number
        seq = letter.seq if is_first else None
        self._admission.insert(envelope, envelope.size, now, seq, first=is_first, is_new=False)
        self._go_on(letter)

    def skip(self, key: str) -> bool:
        """Let a key go on without the event that it waits for; its letter is kept. Return False if it is not halted."""
        if key not in self.halted:
            return False
        if (reason := self._halting.pop(self.halted[key], None)) is not None:
            self._kept[self.halted[key]] = reason
        self._halt(key, None)
        return True

    def _forget(self, number: int, reason: Reason) -> None:
        self._kept.pop(number, None)
        self._halting.pop(number, None)
        self.by_reason[reason] -= 1
        self._state.ops.append(DropDead(number))

    def taken_back(self, letter: DeadLetter) -> None:
        """A letter was published again where it is stored, and deleted."""
        self.by_reason[letter.reason] -= 1
        self._go_on(letter)

    def _go_on(self, letter: DeadLetter) -> None:
        key = letter.envelope.key
        if key is not None and self.halted.get(key) == letter.number:
            self._halt(key, None)


def as_new(envelope: Envelope) -> Envelope:
    """Return an event to publish again: it counts how often that was done, and is no request any more."""
    attributes = {**envelope.attributes, REDRIVEN: str(int(envelope.attributes.get(REDRIVEN, "0")) + 1)}
    attributes.pop(HOLDS, None)  # the request that it was is over
    return msgspec.structs.replace(envelope, attributes=attributes, due=None, expires=None)
