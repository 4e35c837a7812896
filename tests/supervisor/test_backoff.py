"""The supervisor's parts, each alone: policy, table, channel, sockets."""

from __future__ import annotations

import logging
from functools import partial
from itertools import pairwise

import pytest
from tiny_listener_supervisor.fleet.backoff import GAVE_UP, Restarts
from tiny_listener_supervisor.fleet.slot import Slot, WorkerState
from tiny_listener_supervisor.policy import (
    LIVED_LONG,
    MAX_DELAY,
    MAX_DELAY_ALONE,
    RestartBudget,
    restart_delay,
)


def test_restarts_back_off_and_forget() -> None:
    failures, delays = 0, []
    for _ in range(12):
        failures, delay = restart_delay(failures, lived=0.5, chance=0.0)
        delays.append(delay)
    assert delays[:4] == [0.0, 0.1, 0.2, 0.4]
    assert all(a <= b for a, b in pairwise(delays))
    assert delays[-1] == MAX_DELAY
    assert restart_delay(failures, lived=LIVED_LONG, chance=0.0) == (0, 0.0)
    assert restart_delay(3, lived=LIVED_LONG - 0.01, chance=0.0) == (4, 0.4)
    assert restart_delay(4, lived=0.5, chance=0.0, longest=0.8) == (5, 0.8)
    assert restart_delay(5, lived=0.5, chance=0.0, longest=0.8) == (6, 0.8)


def test_chance_takes_a_quarter_of_a_delay_at_most() -> None:
    assert restart_delay(3, lived=0.5, chance=0.5)[1] == pytest.approx(0.35)
    assert restart_delay(3, lived=0.5, chance=1.0)[1] == pytest.approx(0.3)
    assert restart_delay(0, lived=0.5, chance=1.0) == (1, 0.0)


def test_a_budget_of_ends_is_for_a_window() -> None:
    budget = RestartBudget(2, window=10.0)
    assert [budget.spend(now) for now in (100.0, 105.0, 109.9)] == [False, False, True]
    assert budget.spent == 3
    budget = RestartBudget(2, window=10.0)
    assert [budget.spend(now) for now in (100.0, 105.0, 110.0, 114.9)] == [False, False, False, True]
    assert RestartBudget(0, window=10.0).spend(100.0)
    endless = RestartBudget(None, window=10.0)
    assert not any(endless.spend(100.0) for _ in range(1000))
    assert endless.spent == 0


def test_what_follows_on_an_end_is_said(caplog: pytest.LogCaptureFixture) -> None:
    slot = Slot(1)
    counts = {"exit": 0}
    restarts = Restarts(RestartBudget(2, window=10.0), counts, chance=lambda: 0.5)
    after = partial(restarts.after, slot, "exited", alone=False, pid=7, cause="exit")
    with caplog.at_level(logging.ERROR, "tiny_listener.supervisor"):
        assert after(WorkerState.READY, 0.5, now=1.0) == 0.0
        assert after(WorkerState.STARTING, 0.5, now=2.0) == pytest.approx(0.0875)
        assert after(WorkerState.READY, 0.5, now=3.0) is None
    assert counts == {"exit": 2}
    assert [record.getMessage() for record in caplog.records] == [
        "Worker 1 exited after 0.5 s, while ready; the next one starts now",
        "Worker 1 exited after 0.5 s, before it was ready; the next one starts in 0.088 s",
        "Worker 1 exited after 0.5 s, while ready; no restart",
        f"3 workers ended unexpectedly within 10 s, and --max-restarts is 2: giving up, with exit code {GAVE_UP}",
    ]


@pytest.mark.parametrize(
    ("was", "alone", "delay"),
    [
        (WorkerState.READY, False, 25.6),
        (WorkerState.READY, True, MAX_DELAY_ALONE),  # clients wait
        (WorkerState.DRAINING, True, MAX_DELAY_ALONE),
        (WorkerState.STARTING, True, 25.6),  # it would not serve them either
    ],
)
def test_where_no_other_serves_the_next_worker_comes_soon(was: WorkerState, alone: bool, delay: float) -> None:
    slot = Slot(1, failures=9)
    restarts = Restarts(RestartBudget(None, window=10.0), {"exit": 0}, chance=lambda: 0.0)
    assert restarts.after(slot, "exited", was, 0.5, now=1.0, alone=alone, pid=7, cause="exit") == delay
    assert slot.failures == 10
