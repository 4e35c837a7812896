"""Any bytes, cut in any way: never a hang, never an exception that is not meant, never two readings."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.http.readings import ASKED, CORPUS, EXAMPLES, check_one_reading, is_expected

pieces = st.lists(st.sampled_from(ASKED) | st.sampled_from(CORPUS) | st.binary(max_size=20), min_size=1, max_size=6)
changes = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 2), st.binary(min_size=1, max_size=2)), max_size=3)
cuts = st.lists(st.integers(0, 10_000), max_size=12)


@given(pieces, changes, cuts)
@example([ASKED[0] * 100], [], [])
@settings(
    max_examples=EXAMPLES or 200,
    derandomize=not EXAMPLES,
)
def test_where_bytes_are_cut_and_which_way_they_go_changes_nothing(
    caplog: pytest.LogCaptureFixture,
    pieces: list[bytes],
    changes: list[tuple[int, int, bytes]],
    cuts: list[int],
) -> None:
    data = b"".join(pieces)
    for place, kind, other in changes:
        start = place % (len(data) + 1)
        data = data[:start] + (b"", other, other)[kind] + data[start + (1, 0, len(other))[kind] :]
    borders = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    in_pieces = [data[a:b] for a, b in pairwise(borders)]

    with caplog.at_level(logging.WARNING):
        asyncio.run(check_one_reading(in_pieces))
    assert all(is_expected(record.getMessage()) for record in caplog.records)
    caplog.clear()


def test_a_search_led_by_branches_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this platform")
    command = [sys.executable, "-m", "tests.http.coverage_guided", "-runs=500", "-seed=1", "-timeout=20"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    last = re.findall(r"cov: (\d+) ft: \d+ corp: (\d+)/", done.stderr)[-1]
    # It sees the branches of the code that it is to search, or else it would search in the dark.
    assert int(last[0]) > 500
    assert int(last[1]) > 50
