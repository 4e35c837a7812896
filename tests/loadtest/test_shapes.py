"""How many users a load test has at which time."""

from __future__ import annotations

import pytest
from shapes import SHAPES, users_at


@pytest.mark.parametrize(
    ("shape", "users"),
    [
        ("flat", [100, 100, 100, 100, 100, 100]),
        ("steps", [20, 40, 60, 80, 100, 100]),
        ("spike", [20, 20, 100, 20, 20, 20]),
        ("waves", [10, 91, 41, 41, 91, 10]),
        ("soak", [1, 100, 100, 100, 100, 5]),
    ],
)
def test_shapes(shape: str, users: list[int]) -> None:
    assert [users_at(shape, passed, 10, 100) for passed in (0, 2, 4, 6, 8, 9.99)] == users


@pytest.mark.parametrize("shape", list(SHAPES))
def test_there_is_a_user_until_the_end_and_none_after(shape: str) -> None:
    for tenth in range(100):
        users = users_at(shape, tenth / 10, 10, 7)
        assert users is not None
        assert 1 <= users <= 7
    assert users_at(shape, 10, 10, 7) is None
