"""Figures that were measured stand on one page, each under the command that prints it."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import DRAWN
from tests.server import ROOT

MEASUREMENTS = ROOT / "docs" / "understand" / "measurements.md"
OTHERS = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "deploy/RUNBOOK.md")),
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page != MEASUREMENTS),
]
WITHOUT = {"Limitations", "How it is measured", "All commands", "More cores"}
"""Sections that show nothing that a command printed."""
ORIGIN = re.compile(
    r"^Printed by `[^`]+`[^;]*; (Debian's\s|)(CPython 3\.\d+\.\d+|the\s+interpreter\s+was\s+not\s+noted); "
    r"[0-9a-f]{7}, 20\d\d-\d\d-\d\d[^.]*\.$",
    re.MULTILINE,
)
FIGURE = re.compile(r"(?<![\w.,-])(?<!RFC )(?:\d[\d,.]*\d|\d)(?: +(?:ns|us|ms|KiB|MiB)\b)?(?![\w,-]|\.\d)")
"""A number, with its unit where it has one."""


def is_distinct(figure: str) -> bool:
    """Whether a figure can only be the measured one: it has four digits that count, or three and a unit."""
    digits = re.sub(r"\D", "", figure).strip("0")
    if figure == "256 KiB" or figure.count(".") > 1:  # a limit, and a size of bodies that were sent; a version
        return False
    return len(digits) >= (3 if figure[-1].isalpha() else 4)


def sections(text: str) -> list[tuple[str, str]]:
    """Return the sections of a page, each with its title; a smaller one ends at the next of any size."""
    parts = re.split(r"^##+ (.+)\n", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


SHOWN = [one for one in sections(MEASUREMENTS.read_text()) if one[0] not in WITHOUT]


@pytest.mark.parametrize(
    ("title", "text"),
    [one for one in sections(MEASUREMENTS.read_text()) if one[0] not in WITHOUT],
    ids=lambda x: x[:30],
)
def test_each_section_says_what_printed_it_and_when(title: str, text: str) -> None:
    assert ORIGIN.match(text.lstrip("\n")), title


def test_no_other_page_repeats_a_figure() -> None:
    figures = {figure for figure in FIGURE.findall(MEASUREMENTS.read_text()) if is_distinct(figure)}
    assert len(figures) > 200
    for page in OTHERS:
        written = DRAWN.sub("", page.read_text())  # what is drawn is drawn from the measurements
        found = figures.intersection(FIGURE.findall(written))
        assert not found, f"{page.name} repeats {sorted(found)}"
