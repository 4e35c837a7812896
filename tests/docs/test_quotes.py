"""Lines of the log and of stderr that are quoted within a text are what the code prints.

Those in blocks are printed by the commands above them (`test_commands.py`). One in a sentence is held against the texts
in the code: each part of it has to have a piece of one, so that a line that changes there changes here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.docs.pages import ALL_PAGES
from tests.server import ROOT

SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINE = re.compile(r"(?:INFO|WARNING|ERROR|CRITICAL|Error): +(.+)")
PART = r"[;,] |: (?=[a-z])"
"""What is between two parts of a line."""
ITEM = re.compile(r"\n\s*\n|\n(?=[-|] )")


def quoted() -> Iterator[tuple[str, str]]:
    """Yield the lines that pages quote, each without its level."""
    for page in ALL_PAGES:
        text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for item in ITEM.split(text):
            for span in SPAN.findall(" ".join(item.split())):
                if line := LINE.match(span):
                    yield page.name, line[1]


@cache
def pieces() -> tuple[str, ...]:
    """Return what stands between the variable parts of the texts in the code, where that is more than a word."""
    found = set()
    for folder in ("tiny_listener", "supervisor", "metrics"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.update(re.split(rf"%[-\d.]*[a-z]|\{{\w*\}}|{PART}", node.value))
    return tuple(piece for piece in (one.strip(" ,;:.") for one in found) if len(re.findall(r"[A-Za-z]", piece)) >= 7)


def test_lines_are_found() -> None:
    assert len(list(quoted())) > 10


@pytest.mark.parametrize(("page", "line"), sorted(set(quoted())))
def test_a_quoted_line_is_one_that_the_code_prints(page: str, line: str) -> None:
    for part in re.split(PART, line):
        is_code = " > " in part  # where a task waits
        if len(re.findall(r"\b[a-z]{2,}\b", part)) >= 3 and not is_code:
            assert any(piece in part for piece in pieces()), f"{page}: no text in the code has a piece of {part!r}"
