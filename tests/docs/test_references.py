"""The tests that the documentation names exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.server import ROOT

NAMED = re.compile(r"`(?:tests/)?((?:[a-z0-9_]+/)*test_[a-z0-9_]+\.py)(?:::(test_[a-z0-9_]+))?`")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]


def named() -> Iterator[tuple[str, str, str | None]]:
    for page in PAGES:
        for path, function in NAMED.findall(page.read_text()):
            yield page.name, path, function or None


@pytest.mark.parametrize(("page", "path", "function"), sorted(set(named()), key=str))
def test_a_test_that_is_named_exists(page: str, path: str, function: str | None) -> None:
    tests = ROOT / "tests"
    found = list(tests.glob(path)) or list(tests.glob(f"*/{path}"))
    assert found, f"{page} names {path}"
    if function is not None:
        names = [node.name for node in ast.walk(ast.parse(found[0].read_text())) if isinstance(node, ast.FunctionDef)]
        assert function in names, f"{page} names {function} of {path}"


@pytest.mark.parametrize("page", ["promises.md", "security.md"])
def test_every_row_names_a_test(page: str) -> None:
    rows, is_of_tests = 0, False
    for line in (ROOT / "docs" / "understand" / page).read_text().splitlines():
        if not line.startswith("|"):
            is_of_tests = False
        elif line.rstrip(" |").endswith("| test"):
            is_of_tests = True
        elif is_of_tests and not line.startswith("|---"):
            rows += 1
            assert NAMED.search(line.rpartition(" | ")[2]), line
    assert rows > 5
