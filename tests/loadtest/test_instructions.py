"""The benchmark that counts instructions counts each kind of request, and the same again."""

from __future__ import annotations

import pytest
from bench_instructions import count
from instructions.driver import SCENARIOS

from tests.server import ROOT


@pytest.mark.needs("valgrind")
@pytest.mark.needs("cc")
@pytest.mark.timeout(240)
def test_each_kind_is_counted_and_hardly_differs() -> None:
    first, second = count(ROOT), count(ROOT)
    assert first.keys() == second.keys() == SCENARIOS.keys()
    for name, instructions in first.items():
        assert 5_000 < instructions < 500_000
        assert 0.8 < instructions / second[name] < 1.25
    assert first["hello"] < first["a JSON body"]
