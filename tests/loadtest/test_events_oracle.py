"""The oracle of events_chaos.py: each thing that may be wrong with a log is seen, and what is right is let through."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.server import ROOT

sys.path.insert(0, str(ROOT / "loadtest"))

from events.oracle import judge, parse


def verdict(text: str, published: int = 3, died: tuple[int, ...] = ()) -> Any:
    lines = "".join(f"{' '.join(words)}\n" for words in (line.split() for line in text.split(";")))
    return judge(parse(lines), {"k": published}, died)


RIGHT = "1 start k 1; 1 end k 1; 2 start k 2; 2 end k 2; 1 start k 3; 1 end k 3"


@pytest.mark.parametrize(
    ("text", "died", "repeats"),
    [
        (RIGHT, (), 0),
        ("1 start k 1; 2 start k 1; 2 end k 1; 2 start k 2; 2 end k 2; 2 start k 3; 2 end k 3", (1,), 1),
        ("1 start k 1; 1 end k 1; 2 start k 1; 2 end k 1; 2 start k 2; 2 end k 2; 2 start k 3; 2 end k 3", (1,), 1),
        ("1 start k 1; 1 fail k 1; 1 start k 1; 1 end k 1; 2 start k 2; 2 end k 2; 2 start k 3; 2 end k 3", (), 0),
    ],
)
def test_a_log_that_is_right(text: str, died: tuple[int, ...], repeats: int) -> None:
    found = verdict(text, died=died)
    assert found.is_right, str(found)
    assert (found.repeats, found.events) == (repeats, 3)
    assert "0 out of order" in str(found)


@pytest.mark.parametrize(
    ("text", "died", "wrong"),
    [
        ("1 start k 1; 1 end k 1; 1 start k 3; 1 end k 3; 1 start k 2; 1 end k 2", (), "order"),
        ("1 start k 1; 1 end k 1; 1 start k 2; 2 start k 1; 2 end k 1; 2 start k 2; 2 end k 2", (1,), "order"),
        (
            "1 start k 1; 2 start k 1; 1 end k 1; 2 end k 1; 2 start k 2; 2 end k 2; 2 start k 3; 2 end k 3",
            (),
            "overlap",
        ),
        ("1 start k 1; 1 end k 1; 1 start k 2; 1 end k 2", (), "missing"),
        ("1 start k 1; 1 end k 1; 1 start k 2; 1 end k 2; 1 start k 3", (1,), "missing"),
        ("1 start k 1; 1 end k 1; 2 start k 1; 2 end k 1; 2 start k 2; 2 end k 2", (), "unexplained"),
        (f"{RIGHT}; 1 start other 1; 1 end other 1", (), "unexplained"),
    ],
)
def test_what_is_wrong_is_seen(text: str, died: tuple[int, ...], wrong: str) -> None:
    found = verdict(text, died=died)
    assert not found.is_right
    assert getattr(found, wrong), str(found)
    assert "such as" in str(found)


def test_a_line_that_is_cut_off_is_not_read() -> None:
    assert [line.number for line in parse("1 start k 1\n1 end k 1\n1 start k")] == [1, 1]
