"""The tests, folders and modules that the documentation names exist, and ARCHITECTURE names every folder."""

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
    found = list(tests.glob(f"**/{path}"))
    assert found, f"{page} names {path}"
    if function is not None:
        nodes = [node for one in found for node in ast.walk(ast.parse(one.read_text()))]
        names = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
        assert function in names, f"{page} names {function} of {path}"


@pytest.mark.parametrize("page", ["understand/promises.md", "understand/security.md", "use/cloudevents.md"])
def test_every_row_names_a_test(page: str) -> None:
    rows, is_of_tests = 0, False
    for line in (ROOT / "docs" / page).read_text().splitlines():
        if not line.startswith("|"):
            is_of_tests = False
        elif line.rstrip(" |").endswith("| test"):
            is_of_tests = True
        elif is_of_tests and not line.startswith("|---"):
            rows += 1
            assert NAMED.search(line.rpartition(" | ")[2]), line
    assert rows > 5


SHELVES = sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").glob("*/*.md"))


def test_each_page_stands_on_a_shelf_and_is_listed() -> None:
    listed = re.findall(r"^\| \[[^\]]+\]\(([^)]+)\) \| .+ \|$", (ROOT / "docs" / "pages.md").read_text(), re.MULTILINE)
    assert sorted(page for page in listed if not page.startswith("../")) == SHELVES
    assert {page.partition("/")[0] for page in SHELVES} == {"use", "operate", "understand"}
    assert [page.name for page in (ROOT / "docs").glob("*.md")] == ["pages.md"]


ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
CODE = [ROOT / "tiny_listener", ROOT / "supervisor", ROOT / "metrics"]
MODULES = {path.relative_to(ROOT): path for folder in CODE for path in folder.rglob("*.py")}
TREE = ARCHITECTURE.partition("```text\n")[2].partition("```")[0]
NAMED_CODE = re.compile(r"`(?P<module>(?:[a-z0-9_]+/)*[a-z0-9_]+)(?:\.py|\.(?P<name>[A-Za-z_]+))`")


def folders() -> Iterator[str]:
    """Yield the folders of the repository that somebody put files into, but for examples of bytes and pages."""
    for path in sorted(ROOT.glob("*/")):
        if path.name.startswith(".") or path.name in {"build", "dist"} or path.suffix == ".egg-info":
            continue
        depth = {"tiny_listener": 3, "supervisor": 3, "metrics": 2, "examples": 0}.get(path.name, 1)
        for folder in (path, *sorted(path.rglob("*/"))):
            parts = folder.relative_to(path).parts
            if len(parts) <= depth and not {"__pycache__", "results"} & set(parts):
                yield str(folder.relative_to(ROOT))


@pytest.mark.parametrize("folder", list(folders()))
def test_architecture_names_every_folder(folder: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(folder.rpartition('/')[2])}/", TREE), folder


def test_every_module_that_architecture_names_exists() -> None:
    names = set(re.findall(r"\b([a-z0-9_]+\.py)\b", ARCHITECTURE))
    assert len(names) > 60
    assert names - {path.name for path in MODULES} - {"test_layers.py"} == set()


def test_what_architecture_names_of_a_module_is_in_it() -> None:
    known = {path.stem for path in MODULES}
    for match in NAMED_CODE.finditer(ARCHITECTURE):
        paths = [path for name, path in MODULES.items() if f"/{name}".endswith(f"/{match['module']}.py")]
        if match["name"] is None or match["module"].rpartition("/")[2] not in known:
            continue  # a class and its method, such as `HTTPServer.work`
        assert any(re.search(rf"\b{match['name']}\b", path.read_text()) for path in paths), match[0]
