"""What decides whether a load test was good enough."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from slo import Seen, judge, percentile, read_objectives

SCENARIOS = ("api", "tcp")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "slo.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[api]\np99 = 1\n[other]\np50 = 1", r"\[other\] is not a scenario; there are all, api, tcp"),
        ("api = 1", r"\[api\] is not a scenario"),
        ("[api]\np42 = 1", r"\[api\] p42 is not an objective; there are failures, p50, p95, p99, rate"),
        ("[api]\np50 = '1'", "p50 should be a number from 0 on, not '1'"),
        ("[api]\np50 = true", "not True"),
        ("[api]\np50 = -1", "not -1"),
        ("[api]\np50 = nan", "not nan"),
        ("[api", r"slo.toml: "),
    ],
)
def test_objectives_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_objectives(written(tmp_path, text), SCENARIOS)


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        ("[api]\nfailures = 0.01", True),
        ("[api]\nfailures = 0.009", False),
        ("[api]\nrate = 10", True),
        ("[api]\nrate = 10.1", False),
        ("[api]\np50 = 0.5", True),
        ("[api]\np50 = 0.49", False),
        ("[api]\np95 = 2", True),
        ("[api]\np95 = 1.9", False),
        ("[api]\np99 = 30", True),
        ("[api]\np99 = 29", False),
        ("[all]\nrate = 20", True),
        ("[all]\nrate = 20.1", False),
        ("[all]\nfailures = 0.005", True),
        ("[all]\nfailures = 0.004", False),
        ("[all]\np50 = 0.6", True),
        ("[all]\np50 = 0.5", False),
    ],
)
def test_each_objective_from_both_sides(tmp_path: Path, text: str, is_met: bool) -> None:
    seen = {
        "api": Seen(100, 1, Counter({0.5: 50, 2.0: 45, 30.0: 5})),
        "tcp": Seen(100, 0, Counter({0.6: 100})),
    }
    [verdict] = judge(read_objectives(written(tmp_path, text), SCENARIOS), seen, 10)
    assert verdict.is_met is is_met
    assert str(verdict).endswith("met" if is_met else "MISSED")


def test_a_scenario_that_was_not_run_is_not_judged(tmp_path: Path) -> None:
    objectives = read_objectives(written(tmp_path, "[api]\nrate = 1\n[tcp]\nrate = 1"), SCENARIOS)
    assert [verdict.scenario for verdict in judge(objectives, {"tcp": Seen(10)}, 1)] == ["tcp"]


def test_no_request_at_all_is_no_success(tmp_path: Path) -> None:
    objectives = read_objectives(written(tmp_path, "[all]\nfailures = 0.5"), SCENARIOS)
    assert [verdict.is_met for verdict in judge(objectives, {}, 1)] == [False]


def test_percentiles() -> None:
    times = Counter({0.125: 99, 7.5: 1})
    assert [percentile(times, share) for share in (0.0, 0.5, 0.99, 0.991, 1.0)] == [0.125, 0.125, 0.125, 7.5, 7.5]
    assert percentile({}, 0.5) == 0.0


def test_the_objectives_that_come_with_it_can_be_read() -> None:
    from scenarios import USERS

    path = Path(__file__).parents[2] / "loadtest" / "slo.toml"
    assert "all" in read_objectives(path, USERS)
