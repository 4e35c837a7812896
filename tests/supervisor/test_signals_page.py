"""The page of signals shows the table of states as it is."""

from __future__ import annotations

import subprocess
import sys

from tiny_listener_supervisor.fleet.slot import STEPS

from docs.generate import BEGIN, END, draw, put
from tests.server import ROOT


def test_the_page_shows_every_step() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    page = (ROOT / "docs" / "operate" / "signals.md").read_text()
    for state, following in STEPS.items():
        for then, cause in following.items():
            assert any(cause in line and line.endswith(then.value) for line in page.splitlines()), (state, then)


def test_a_drawing_is_put_in_the_place_of_an_old_one() -> None:
    page = f"before\n{BEGIN}stale\n{END}after\n"
    new = put(page, draw(STEPS))
    assert new.startswith("before\n")
    assert new.endswith("after\n")
    assert "stale" not in new
    assert put(new, draw(STEPS)) == new
