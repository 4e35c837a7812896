"""What becomes of a reload."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tiny_listener_supervisor.fleet.reload_status import ReloadStatus, Rollout
from tiny_listener_supervisor.fleet.slot import Slot, Worker, WorkerState


def worker(version: int, state: WorkerState = WorkerState.READY) -> Worker:
    channel: Any = None
    return Worker(None, 1, channel, None, memoryview(bytearray(8)).cast("d"), 0.0, version, state)


def test_a_reload_is_done_when_every_slot_in_use_serves_its_code() -> None:
    slots = [Slot(0, worker(0)), Slot(1, worker(0)), Slot(2, retired=True)]
    rollout = Rollout(slots)
    rollout.look()
    assert (rollout.last, rollout.done) == (None, 0)
    rollout.begin(1)
    for each in (worker(1, WorkerState.STARTING), None, worker(0)):
        slots[0].worker = each
        slots[1].worker = worker(1)
        rollout.look()
        assert rollout.last == ReloadStatus(1, "running")
    slots[0].worker = worker(2)
    rollout.look()
    assert rollout.last == ReloadStatus(1, "done")
    rollout.worker_failed(1, "too late to matter", 3)
    slots[0].worker = None
    rollout.look()
    assert (rollout.last, rollout.done, rollout.failed) == (ReloadStatus(1, "done"), 1, 0)


def test_how_long_it_took_is_said(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    rollout = Rollout([Slot(0, worker(1))], clock=lambda: now)
    rollout.begin(1)
    now = 102.25
    with caplog.at_level(logging.INFO, "tiny_listener.supervisor"):
        rollout.look()
        rollout.look()
    (record,) = caplog.records
    assert record.getMessage() == "Reload 1 is done after 2.2 s"
    assert vars(record)["duration"] == 2.25


def test_it_fails_with_the_first_worker_of_its_code_that_does_not_boot() -> None:
    slots = [Slot(0, worker(0))]
    rollout = Rollout(slots)
    rollout.worker_failed(0, "before any reload", 3)
    assert (rollout.last, rollout.failed) == (None, 0)
    rollout.begin(2)
    rollout.worker_failed(1, "of the one before", 3)
    assert rollout.last == ReloadStatus(2, "running")
    rollout.worker_failed(2, "worker 0 killed by SIGKILL", -9)
    assert rollout.last == ReloadStatus(2, "failed", "worker 0 killed by SIGKILL", -9)
    slots[0].worker = worker(2)
    rollout.look()
    assert (rollout.done, rollout.failed) == (0, 1)
    rollout.begin(3)
    slots[0].worker = worker(3)
    rollout.look()
    assert (rollout.last, rollout.done, rollout.failed) == (ReloadStatus(3, "done"), 1, 1)
