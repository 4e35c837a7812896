"""What workers show of themselves, and what the kernel knows of them."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_listener_supervisor.system.proc import process_numbers, resident_bytes
from tiny_listener_supervisor.worker.heartbeat import (
    LONG_PERIOD,
    PERIOD,
    QUIET,
    REST,
    STAMP,
    WINDOW,
    Heartbeat,
    LoopLag,
    Vitals,
    lateness,
    read_vitals,
)

from tiny_listener import Listener


class Place:
    """Memory to show things in, and a clock that stands where the test puts it."""

    def __init__(self) -> None:
        self.shown = memoryview(bytearray(64)).cast("d")
        self.now = 100.0

    def vitals(self) -> Vitals:
        """Return what is shown."""
        return read_vitals(self.shown, self.now)


def started(place: Place, listener: Listener, **more: object) -> Heartbeat:
    """Return a heartbeat that has begun to beat, and beats when the test says so from then on."""
    heartbeat = Heartbeat(place.shown, listener, clock=lambda: place.now, **more)  # type: ignore[arg-type]
    asyncio.run(heartbeat.start())
    return heartbeat


def test_the_longest_lag_is_shown_for_a_while() -> None:
    place = Place()
    heartbeat = started(place, Listener())
    assert place.vitals() == (0.0, 0, 0)
    place.now += PERIOD
    heartbeat.show()
    assert place.vitals().lag == 0.0
    place.now += PERIOD + 2.5  # somebody blocked the loop
    assert place.vitals().lag == pytest.approx(2.5)  # it is seen at once
    heartbeat.show()
    late = place.now
    while place.now < late + WINDOW - 3:
        place.now += PERIOD
        heartbeat.show()
        assert place.vitals().lag == pytest.approx(2.5)
    place.now += PERIOD + 0.5
    heartbeat.show()
    while place.now < late + 2 * WINDOW:
        place.now += PERIOD
        heartbeat.show()
    assert place.vitals().lag <= 0.5 + 1e-9  # it is forgotten, at last


@pytest.mark.parametrize(("stamp", "now", "late"), [(5.0, 5.0, 0.0), (5.0, 5.1, 0.0), (5.0, 6.0, 0.9), (5.0, 4.0, 0.0)])
def test_lateness(stamp: float, now: float, late: float) -> None:
    assert lateness(stamp, now) == pytest.approx(late)


def test_it_says_once_that_a_successor_is_due() -> None:
    place, listener, said = Place(), Listener(), list[int]()
    heartbeat = started(place, listener, max_events=10, on_due=said.append)
    for dispatched in (9, 10, 11, 12):
        listener.hooks.dispatched = dispatched
        heartbeat.show()
    assert said == [10]


def test_the_kernel_knows_of_this_process() -> None:
    numbers = process_numbers(os.getpid())
    assert numbers is not None
    assert numbers.cpu == pytest.approx(sum(os.times()[:2]), abs=0.2)
    assert numbers.resident == pytest.approx(resident_bytes(os.getpid()), rel=0.1)
    assert numbers.virtual > numbers.resident > 10 * 2**20
    assert numbers.started <= time.time()
    assert numbers.open_fds == pytest.approx(len(os.listdir("/proc/self/fd")), abs=2)
    assert numbers.max_fds == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_process_that_is_gone_or_a_zombie_has_no_numbers() -> None:
    process = subprocess.Popen(["true"])
    stat = Path(f"/proc/{process.pid}/stat")
    while ") Z" not in stat.read_text():
        os.sched_yield()
    assert process_numbers(process.pid) is None
    process.wait()
    assert process_numbers(process.pid) is None
    assert resident_bytes(process.pid) == 0


def test_the_lag_of_the_supervisors_own_loop_is_kept_for_a_while() -> None:
    place = Place()
    lag = LoopLag(lambda: place.now)
    place.now += PERIOD
    lag.look()
    assert lag.seconds == 0.0
    place.now += PERIOD + 0.4
    lag.look()
    late = place.now
    while place.now < late + WINDOW - PERIOD:
        place.now += PERIOD
        lag.look()
        assert lag.seconds == pytest.approx(0.4)
    while place.now < late + 2 * WINDOW + PERIOD:
        place.now += PERIOD
        lag.look()
    assert lag.seconds <= 1e-9


def test_a_worker_without_events_rests_until_it_is_stirred() -> None:
    place, listener = Place(), Listener[Any]()
    heartbeat = Heartbeat(place.shown, listener, clock=lambda: place.now)

    async def main() -> None:
        await heartbeat.start()
        for _ in range(QUIET - 2):
            heartbeat._beat()
        assert (listener.lifecycle.on_activity, place.shown[REST]) == (None, 0.0)
        heartbeat._beat()
        assert 0.5 * LONG_PERIOD - PERIOD < place.shown[REST] < 1.5 * LONG_PERIOD
        place.now += place.shown[REST] + PERIOD
        assert place.vitals().lag == pytest.approx(0.0)
        place.now += 0.5
        assert place.vitals().lag == pytest.approx(0.5)
        on_activity = listener.lifecycle.on_activity
        assert on_activity is not None
        on_activity()
        assert (listener.lifecycle.on_activity, place.shown[REST], place.shown[STAMP]) == (None, 0.0, place.now)
        for _ in range(2 * QUIET):
            listener.hooks.dispatched += 1
            heartbeat._beat()
        assert listener.lifecycle.on_activity is None
        for _ in range(QUIET):
            heartbeat._beat()
        assert listener.lifecycle.on_activity is not None
        heartbeat._timer.cancel()

    asyncio.run(main())
