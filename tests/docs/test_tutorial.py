"""The tutorial, typed word for word into a shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import Session, blocks
from tests.server import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.needs("curl")]


def test_the_tutorial(tmp_path: Path) -> None:
    session = Session(tmp_path, level="warning")
    try:
        for block in blocks(ROOT / "docs" / "use" / "tutorial.md"):
            session.read(block)
    finally:
        session.close()
    assert session.typed > 20
