"""Property tests: none of them can fail because the machine is busy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent


@given(st.integers())
def test_no_example_has_a_deadline(number: int) -> None:
    assert isinstance(number, int)
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


@pytest.mark.parametrize("path", sorted(HERE.rglob("*.py")), ids=lambda path: str(path.relative_to(HERE)))
def test_no_module_sets_another(path: Path) -> None:
    if path.name not in ("conftest.py", Path(__file__).name):
        assert not re.search(r"\bdeadline=(?!None\b)|suppress_health_check=|register_profile", path.read_text())
