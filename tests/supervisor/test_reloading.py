"""What `--reload` decides: which changes matter, what is said of them, and which bytecode is trusted."""

from __future__ import annotations

import importlib.util
import os
from importlib.machinery import SourceFileLoader
from pathlib import Path, PurePath

import pytest
from tiny_listener_supervisor.policy import workers_in_words
from tiny_listener_supervisor.reload.reloader import WatchPlan, describe_changes, distrust_bytecode
from tiny_listener_supervisor.reload.watcher import LONGEST, Burst, ChangeFilter, matches, watches_are_left
from watchfiles import Change


@pytest.mark.parametrize(
    ("path", "patterns", "does"),
    [
        ("app.py", ["*.py"], True),
        ("deep/down/app.py", ["*.py"], True),
        ("app.pyc", ["*.py"], False),
        ("app.py", [], False),
        ("templates/page.html", ["templates"], True),
        ("mytemplates/page.html", ["templates"], False),
        ("tests/deep/test_app.py", ["tests/*"], True),
        ("src/tests/test_app.py", ["tests/*"], False),
        ("APP.PY", ["*.py"], False),
        (".env", ["*.py", ".env"], True),
    ],
)
def test_patterns(path: str, patterns: list[str], does: bool) -> None:
    assert matches(PurePath(path), patterns) is does


@pytest.mark.parametrize(
    ("path", "matters"),
    [
        ("app.py", True),
        ("package/module.py", True),
        ("page.html", True),
        ("notes.txt", False),
        ("generated/code.py", False),
        ("__pycache__/app.py", False),
        (".git/hook.py", False),
        ("node_modules/tool/gyp.py", False),
        (".venv/lib/python3.11/site-packages/library.py", False),
        ("environment/lib/python3.11/site-packages/library.py", False),
        ("app.py~", False),
        (".#app.py", False),
    ],
)
@pytest.mark.parametrize("folder", ["/srv/app", "/srv/.git/.venv/__pycache__/app"])
def test_which_changes_matter(folder: str, path: str, matters: bool) -> None:
    plan = WatchPlan((folder, "/srv/other"), includes=("*.py", "*.html"), excludes=("generated",))
    assert ChangeFilter(plan)(Change.modified, f"{folder}/{path}") is matters
    assert not ChangeFilter(plan)(Change.modified, f"{folder}2/{path}")


def test_a_change_in_a_folder_below_another_that_is_ignored_matters() -> None:
    plan = WatchPlan(("/srv", "/srv/node_modules/mine"))
    assert ChangeFilter(plan)(Change.added, "/srv/node_modules/mine/app.py")
    assert not ChangeFilter(plan)(Change.added, "/srv/node_modules/yours/app.py")


@pytest.mark.parametrize(
    ("names", "count", "words"),
    [
        (["a.py"], 1, "a.py changed"),
        (["a.py", "/lib/b.py"], 2, "a.py and /lib/b.py changed"),
        (["a.py", "b.py", "c/d.py"], 3, "a.py, b.py and c/d.py changed"),
        (["a.py", "b.py", "c.py", "d.py"], 4, "a.py, b.py, c.py and 1 more changed"),
        (["a.py", "b.py", "c.py", "d.py"], 1000, "a.py, b.py, c.py and 997 more changed"),
    ],
)
def test_changes_in_words(names: list[str], count: int, words: str) -> None:
    here = Path("/srv/app")
    assert describe_changes([str(here / name) for name in names], count, here) == words


def test_a_plan_in_words() -> None:
    assert str(WatchPlan(("/srv/app",))) == "/srv/app for changes of *.py"
    plan = WatchPlan(("/a", "/b"), includes=("*.py", "*.html"), excludes=("generated", "*_pb2.py"))
    assert str(plan) == "/a, /b for changes of *.py, *.html, but not of generated, *_pb2.py"
    assert [workers_in_words(count) for count in (1, 2)] == ["1 worker", "2 workers"]


@pytest.mark.parametrize(("changed", "cached"), [(999.9, True), (1000.0, False), (1000.9, False), (2e9, False)])
def test_bytecode_of_young_sources_is_neither_read_nor_written(
    changed: float, cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    monkeypatch.setattr(SourceFileLoader, "path_stats", SourceFileLoader.path_stats)  # to be put back
    distrust_bytecode(1000.0)
    source = tmp_path / "module_that_changes.py"
    for text in ("'one'", "'two'"):
        source.write_text(f"TEXT = {text}\n")
        os.utime(source, (changed, changed))
        spec = importlib.util.spec_from_file_location(source.stem, source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        # A cache that is trusted shows the first text still: that is what young sources are spared.
        assert ("one" if cached else text[1:-1]) == module.TEXT
        assert Path(importlib.util.cache_from_source(str(source))).exists() is cached


def test_changes_are_told_when_no_more_come() -> None:
    burst = Burst()
    assert burst.take(set(), 0.0) == set()
    assert burst.take({"a.py"}, 10.0) == set()
    assert burst.take({"a.py"}, 10.05) == set()
    assert burst.take({"b.py"}, 10.1) == set()
    assert burst.take(set(), 10.2) == {"a.py", "b.py"}
    assert burst.take(set(), 10.3) == set()


def test_changes_that_go_on_and_on_are_told_all_the_same() -> None:
    burst = Burst()
    assert burst.take({"a.py"}, 10.0) == set()
    assert burst.take({"a.py"}, 10.0 + LONGEST - 0.01) == set()
    assert burst.take({"b.py"}, 10.0 + LONGEST) == {"a.py", "b.py"}
    assert burst.take({"c.py"}, 10.0 + LONGEST + 0.01) == set()
    assert burst.take(set(), 10.0 + LONGEST + 0.2) == {"c.py"}


def test_a_watch_that_is_refused_for_another_reason_says_nothing_about_those_that_are_left(tmp_path: Path) -> None:
    assert watches_are_left(str(tmp_path))
    assert watches_are_left(str(tmp_path / "gone"))
