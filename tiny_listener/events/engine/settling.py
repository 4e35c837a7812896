"""When workers are told that what they settled is stored."""

from __future__ import annotations

from collections import Counter
from typing import Final

from ..messages import Settled
from .state import EngineState

__all__ = ["Settling"]


class Settling:
    """Counts what workers have settled, and confirms it with messages that are sent anyway.

    :param state: of the engine
    """

    def __init__(self, state: EngineState) -> None:
        self._state: Final = state
        self._counts: Final[Counter[int]] = Counter()
        self._since: float | None = None

    def add(self, number: int, settled: int) -> None:
        """A worker has settled events.

        :param number: of its link
        """
        self._counts[number] += settled

    @property
    def due(self) -> float | None:
        """When to confirm what is not confirmed yet; None: nothing is."""
        return self._since + self._state.limits.confirm_within if self._counts and self._since is not None else None

    def confirm(self, now: float) -> None:
        """Confirm what is settled: to workers that are sent something anyway, or drain, and in time to all."""
        if not self._counts:
            return
        if self._since is None:
            self._since = now
        state = self._state
        if now - self._since >= state.limits.confirm_within:
            told = set(self._counts)
            self._since = None
        else:
            told = {*state.sends}
            told.update(member.number for member in state.schedule.members.values() if member.is_draining)
        for number in told:
            if count := self._counts.pop(number, 0):
                state.sends[number].append(Settled(count))
