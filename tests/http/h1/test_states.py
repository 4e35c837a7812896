"""The table of a connection's states."""

from __future__ import annotations

from tiny_listener.http.h1.states import STEPS, State


def test_the_table_of_states_is_whole() -> None:
    assert set(STEPS) == set(State)
    reached = {new for steps in STEPS.values() for new in steps}
    assert reached == set(State)
    for state, steps in STEPS.items():
        assert state is State.DEAD or State.DEAD in steps
        assert state not in steps or state in (State.BODY, State.HANDLING, State.RESPONDING)
