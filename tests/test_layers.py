"""Which folder may import which, as ARCHITECTURE.md draws it; read from the code, which runs nothing of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.server import ROOT

PACKAGES = {
    "tiny_listener": ROOT / "tiny_listener",
    "tiny_listener_metrics": ROOT / "metrics" / "tiny_listener_metrics",
    "tiny_listener_supervisor": ROOT / "supervisor" / "tiny_listener_supervisor",
}
BASE = {"errors", "router", "process", "net", "events", "core"}
MAY_IMPORT = {
    "errors": set(),
    "router": {"errors"},
    "process": {"errors"},
    "net": {"errors", "process"},
    "events": {"errors", "process"},
    "cloudevents": {"errors"},
    "nats": {"errors", "cloudevents", "events"},
    "core": {"errors", "router", "process", "net", "events"},
    "http": BASE | {"http.body", "cloudevents"},
    "http.body": BASE | {"http"},
    "http.h1": BASE | {"http", "http.body"},
    "http's own": BASE | {"http", "http.body", "http.h1", "cloudevents"},
    "metrics": BASE,
    "supervisor": BASE
    | {"tiny_listener", "http", "http's own", "http.h1", "metrics", "nats"},  # admin/crowd: connections
    "cli": BASE | {"tiny_listener", "http", "http's own", "metrics", "supervisor", "nats"},
    "contrib": BASE | {"tiny_listener", "http", "http's own"},
    "tiny_listener": BASE,
    "testing": BASE,
}
"""By folder; who is not named may be imported by nobody. Imports for types count as well."""
COMPOSE = {
    f"tiny_listener.http{name}"
    for name in ("", ".listener", ".source", ".testing", ".testing.client", ".testing.in_memory")
}
"""Modules of http that put HTTP/1 in its place."""
MAIN = {"tiny_listener.__main__": "cli", "tiny_listener.otel": "contrib"}


class Import(NamedTuple):
    """One module imports another.

    :ivar at_start: whether it does so when it is imported itself
    """

    by: str
    of: str
    at_start: bool


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports() -> Iterator[Import]:
    for name, path in MODULES.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(path.read_text())
        at_start = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom):
                continue
            parts = package.split(".")
            start = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (start, node.module)))
            for alias in node.names:
                of = f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in MODULES else origin
                if of in MODULES and of != name:
                    yield Import(name, of, id(node) in at_start)


def folder_of(module: str) -> str:
    if module in MAIN:
        return MAIN[module]
    package, *rest = module.split(".")
    if package != "tiny_listener":
        return package.removeprefix("tiny_listener_")
    if not rest:
        return package
    if rest[0] != "http":
        return rest[0]
    if module in COMPOSE:
        return "http's own"
    return ".".join(rest[:2]) if len(rest) > 1 and rest[1] in {"h1", "body"} else "http"


IMPORTS = list(imports())


def test_arrows_run_in_one_direction() -> None:
    assert len(IMPORTS) > 500
    for one in IMPORTS:
        by, of = folder_of(one.by), folder_of(one.of)
        assert by == of or of in MAY_IMPORT[by], f"{one.by} imports {one.of}: {by} may import {sorted(MAY_IMPORT[by])}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for one in IMPORTS:
        if one.at_start:
            graph[one.by].add(one.of)
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}), ids=lambda f: f.name)
def test_rooms_are_small(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 16
    for path in folder.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path


@pytest.mark.parametrize("folder", ["tests", "loadtest", "examples", "docs"])
def test_other_modules_are_small_too(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path


def test_no_test_module_imports_another() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name == "broken_syntax.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                parts = (node.module or "").split(".")
                assert parts[0] != "tests" or not parts[-1].startswith("test_"), f"{path} imports {node.module}"
