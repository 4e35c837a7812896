"""When timers of one process come."""

from __future__ import annotations

import pytest

from tiny_listener.process.ticks import next_tick


@pytest.mark.parametrize(
    ("now", "period", "phase", "tick"),
    [
        (10.0, 1.0, 0.0, 11.0),
        (10.4, 1.0, 0.0, 11.0),
        (10.6, 1.0, 0.0, 12.0),  # half a period away at least
        (10.0, 1.0, 0.25, 11.25),
        (11.25, 1.0, 0.25, 12.25),
        (11.2501, 2.0, 0.25, 14.25),
        (10.02, 0.05, 0.0, 10.05),
    ],
)
def test_the_next_tick(now: float, period: float, phase: float, tick: float) -> None:
    assert next_tick(now, period, phase) == pytest.approx(tick)
    assert 0.5 * period - 1e-9 <= next_tick(now, period, phase) - now <= 1.5 * period + 1e-9
