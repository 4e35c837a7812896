"""Events that come from the store, and events that are left to it."""

from __future__ import annotations

from collections.abc import Iterable

from ..life import State
from ..messages import Cancel
from ..store.ops import StoredEvent
from .admission import Admission
from .state import EngineState

__all__ = ["drop", "load"]


def load(state: EngineState, admission: Admission, stored: StoredEvent, now: float) -> None:
    """Let an event that is stored wait for its turn, or for its time."""
    entry = state.entry_of(stored.seq, stored.envelope, stored.envelope.size)
    for name in ("attempts", "crashes", "suspect", "due", "error", "first_started"):
        setattr(entry, name, getattr(stored, name))
    admission.load(entry)
    if (due := entry.envelope.due) is not None:  # it has not fallen due: when it has, it is stored without
        entry.state, entry.due = State.DELAYED, due
        state.delayed[entry.seq] = entry
        state.timers.set(entry, due)
        return
    state.entries[entry.seq] = entry
    if entry.due is None or entry.due <= now:
        entry.due = None
        if entry.first_started is not None:
            state.schedule.keep_key(entry, waits=False)
        state.schedule.add(entry)
        return
    entry.state = State.RETRYING
    state.schedule.keep_key(entry, waits=True)
    state.retrying.add(entry.seq)
    state.timers.set(entry, entry.due)


def drop(state: EngineState, admission: Admission, seqs: Iterable[int], *, in_flight: bool) -> list[int]:
    """Forget events, which stay where they are stored. Return those that are left; see `EventService.drop`."""
    left = []
    for seq in seqs:
        entry = state.entries.get(seq)
        if entry is None:
            continue
        if entry.state is State.IN_FLIGHT:
            if not in_flight:
                left.append(seq)
                continue
            assert entry.member is not None
            state.sends[entry.member].append(Cancel(seq))
            state.schedule.end(entry)
        elif entry.state is State.WAITING:
            state.schedule.remove(entry)
        else:
            state.schedule.release(entry)  # it waits for its retry
        admission.answered(entry)
        state.forget(entry)
    return left
