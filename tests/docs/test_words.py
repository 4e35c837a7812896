"""The documentation uses the words of the field: a reader finds them by search, and need not translate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ALL_PAGES

WORDS = {
    "in hand": "in flight",
    "whoever": "a client that, the process that",
    "anew": "again",
    "beside": "next to, compared with",
    "for ever": "without end",
    "lends?|lent|lending|borrow(?:s|ed|ing)?|loans?": "hand off, take over",
    "parcels?": "batch of file descriptors",
    "stands? still|stood still": "blocked",
    "what it bears": "limit",
    "lets? go": "drain",
    "speaks against": "counts as a failure of",
    "turn of the loop|loop turns": "loop iteration, runs",
    "usual way|general way": "fast path, slow path",
    "read over": "skip, discard",
}
"""What not to say, and what instead. Code, and what a program printed, is not looked at."""
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`|\]\([^)]*\)", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_pages_use_the_words_of_the_field(page: Path) -> None:
    text = " ".join(CODE.sub("", page.read_text()).split())
    for word, instead in WORDS.items():
        found = re.search(rf".{{0,40}}\b(?:{word})\b.{{0,40}}", text, re.IGNORECASE)
        assert found is None, f"{found[0]!r}: say {instead}"
