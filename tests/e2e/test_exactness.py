"""What a server counts is what its clients saw, whatever becomes of its workers; a real Prometheus looks on."""

from __future__ import annotations

from collections import Counter

import pytest
from counted_kinds import KINDS, Kind, Sample
from exactness import Outcome, Scenario, judge, run, table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def assert_right(scenario: Scenario, outcome: Outcome) -> None:
    assert not outcome.faults, table(scenario, outcome)
    assert outcome.scrapes >= 3
    assert outcome.series > 200
    # Nothing that clients send goes without being looked at.
    assert {line.sample for line in outcome.lines} == {sample for kind in KINDS for sample in kind.counts}
    assert all(line.answered for line in outcome.lines)


@pytest.mark.needs("prometheus")
def test_in_peace_each_counter_is_what_clients_noted() -> None:
    scenario = Scenario("in peace", 3000, interval="100ms")
    outcome = run(scenario)
    assert_right(scenario, outcome)
    assert outcome.lost == 0
    assert all(line.counted == line.answered for line in outcome.lines)


@pytest.mark.needs("prometheus")
def test_kills_reloads_and_recycling_cost_no_count_and_add_none() -> None:
    scenario = Scenario("disturbed", 6000, disturbances=9, interval="100ms")
    outcome = run(scenario)
    assert_right(scenario, outcome)
    assert outcome.kills >= 4
    assert outcome.reloads == 6
    assert outcome.recycled > 0


def page_of(answered: Counter[Kind]) -> dict[Sample, float]:
    page: dict[Sample, float] = {}
    for kind, times in answered.items():
        for sample in kind.counts:
            page[sample] = page.get(sample, 0) + times
    return page


@pytest.mark.parametrize(("counted", "lost", "right"), [(4, 0, False), (5, 0, True), (6, 0, False), (6, 1, True)])
def test_the_judge_sees_one_too_few_and_one_too_many(counted: int, lost: int, right: bool) -> None:
    answered = Counter(dict.fromkeys(KINDS, 5))
    page = page_of(answered)
    wrong = KINDS[0].counts[0]
    page[wrong] = counted
    lines, faults = judge(answered, Counter({KINDS[0]: lost}), page)
    assert {line.sample for line in lines if not line.is_right} == (set() if right else {wrong})
    assert [str(wrong) in fault for fault in faults] == ([] if right else [True])


def test_the_judge_sees_what_nobody_asked_for_and_a_count_beside_its_buckets() -> None:
    answered = Counter(dict.fromkeys(KINDS, 1))
    page = page_of(answered)
    assert judge(answered, Counter(), page)[1] == []
    page[Sample.of("tiny_listener_events_total", event="GET:/user/Bob", outcome="ok")] = 1
    page[Sample.of("tiny_listener_dispatch_seconds_bucket", event="GET:/gone", le="+Inf")] = 2
    faults = judge(answered, Counter(), page)[1]
    assert ["no request caused that" in fault for fault in faults] == [True, False]
    assert "its count 1" in faults[1]
