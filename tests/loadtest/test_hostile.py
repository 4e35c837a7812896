"""A part of `make hostile`: a minute in all, on each kind of server. And that it would see what it looks for."""

from __future__ import annotations

import asyncio

import hostile
import pytest

SEED = 20261127


@pytest.mark.e2e
@pytest.mark.timeout(180)
@pytest.mark.parametrize("configuration", hostile.CONFIGURATIONS, ids=lambda configuration: configuration.name)
def test_innocents_notice_nothing(configuration: hostile.Configuration) -> None:
    trying = hostile.try_one(configuration, requests=2500, clients=12, attackers=8, seed=SEED)
    verdict = asyncio.run(trying)
    assert not verdict.faults, f"seed {SEED}: {verdict.faults}"
    assert verdict.answered >= 2500
    assert verdict.acts > 20


APPLICATION = ["ERROR:    Event 'GET:/raise/{kind}' failed in x (hostile.py:1)", "  Traceback (most recent call last):"]


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        (APPLICATION, None),
        (['INFO:     127.0.0.1:1 - "GET / HTTP/1.1" 200 OK 0.1ms'] * 100, None),
        (["Traceback (most recent call last):"], "a traceback that is not an application's"),
        (["ERROR:    something else", *APPLICATION[1:]], "a traceback that is not an application's"),
        (["ERROR:    x"] * 61, "61 lines in the log for 10 hostile acts"),
        (["Task exception was never retrieved"], "never retrieved"),
        (["ERROR:    The connection of None failed; it is closed"], "it is closed"),
    ],
)
def test_what_is_wrong_with_a_log(lines: list[str], wrong: str | None) -> None:
    faults = hostile.read_log(lines, acts=10)
    assert bool(faults) == (wrong is not None)
    assert wrong is None or wrong in faults[0]


def test_what_has_grown() -> None:
    before = {1: {"tasks": 5, "descriptors": 9}, 2: {"tasks": 5, "descriptors": 9}}
    assert hostile.grown(before, before) == []
    assert hostile.grown(before, {**before, 2: {"tasks": 4, "descriptors": 9}}) == []
    assert hostile.grown(before, {**before, 2: {"tasks": 6, "descriptors": 9}}) == ["tasks of 2: 5 became 6"]
    assert "are [1] now" in hostile.grown(before, {1: before[1]})[0]
