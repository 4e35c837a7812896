"""How often garbage is looked for while an application is imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from tiny_listener_supervisor.worker.young_garbage import YOUNG, few_collections


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_it_is_looked_for_less_often_for_a_while() -> None:
    gc.set_threshold(700, 10, 11)
    with few_collections():
        assert gc.get_threshold() == (YOUNG, 10, 11)
    assert gc.get_threshold() == (700, 10, 11)


@pytest.mark.parametrize("own", [(0, 5, 5), (YOUNG, 5, 5), (YOUNG + 1, 5, 5)])
def test_what_was_set_before_stays(own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)
    with few_collections():
        assert gc.get_threshold() == own
    assert gc.get_threshold() == own


def test_what_the_application_sets_stays() -> None:
    gc.set_threshold(700, 10, 10)
    with few_collections():
        gc.set_threshold(900, 5, 5)
    assert gc.get_threshold() == (900, 5, 5)
