"""The tables of states."""

from __future__ import annotations

import pytest
from tiny_listener_supervisor.fleet.slot import STEPS, IllegalWorkerStep, Worker, WorkerState

from tiny_listener.core.lifecycle import STEPS as LISTENER_STEPS
from tiny_listener.core.lifecycle import IllegalStep as IllegalListenerStep
from tiny_listener.core.lifecycle import Lifecycle
from tiny_listener.core.lifecycle import State as ListenerState


@pytest.mark.parametrize("old", WorkerState)
@pytest.mark.parametrize("new", WorkerState)
def test_the_table_of_a_worker_s_life(old: WorkerState, new: WorkerState) -> None:
    worker = Worker(None, 0, None, None, memoryview(b""), 0.0, state=old)  # type: ignore[arg-type]
    if new in STEPS[old]:
        worker.step(new)
        assert worker.state is new
    else:
        with pytest.raises(IllegalWorkerStep, match=f"a worker that is {old.value} cannot become {new.value}"):
            worker.step(new)


@pytest.mark.parametrize("old", ListenerState)
@pytest.mark.parametrize("new", ListenerState)
def test_the_table_of_a_listener_s_life(old: ListenerState, new: ListenerState) -> None:
    life = Lifecycle()
    life.state = old
    if new in LISTENER_STEPS[old]:
        life.step(new)
        assert life.state is new
    else:
        with pytest.raises(IllegalListenerStep, match=f"{old.value} cannot become {new.value}"):
            life.step(new)
