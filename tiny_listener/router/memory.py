"""The memory of one search. It prevents hostile text from being scanned repeatedly."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

__all__ = ["SearchMemory"]

_DIGITS = re.compile("[0-9]+")
_SLASH = re.compile("/")
_RUNS = {"word": re.compile(r"\S+"), "text": re.compile(r"[^\r\n]+")}


class SearchMemory:
    """What one search knows about its text: where runs of characters end, and which ends were tried without success.

    Ends are remembered for each edge and each run. Parameters are tried with the longest piece first. So from any
    position in a run, the ends tried are all those from the end of the run down to some lowest end: one number records
    them, and a later position tries only the ends below.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._entered: set[tuple[object, int]] = set()
        self._lowest: dict[tuple[object, int], int] = {}
        self._highest: dict[tuple[object, int], int] = {}
        self._slashes: list[int] | None = None
        self._runs: dict[str, tuple[list[int], list[int]]] = {}

    def down(self, edge: object, low: int, high: int) -> range:
        """Return the ends from `high` down to `low`, except those returned earlier for this edge and `high`."""
        known = self._lowest.get((edge, high), high + 1)
        if low >= known:
            return range(0)
        self._lowest[edge, high] = low
        return range(known - 1, low - 1, -1)

    def up(self, edge: object, low: int, high: int) -> range:
        """Return the ends from `high` down to `low`, except those returned earlier for this edge and `low`."""
        known = self._highest.get((edge, low), low - 1)
        if high <= known:
            return range(0)
        self._highest[edge, low] = high
        return range(high, known, -1)

    def enter(self, edge: object, end: int) -> bool:
        """Whether this is the first call, for edges whose ends depend on more than the run."""
        if (edge, end) in self._entered:
            return False
        self._entered.add((edge, end))
        return True

    def segment_end(self, pos: int) -> int:
        """Return the position of the first slash from `pos` on, or the end of the text."""
        # Find all of them once: searching again from each position would cost length x length.
        if self._slashes is None:
            self._slashes = [found.start() for found in _SLASH.finditer(self.text)]
        index = bisect_left(self._slashes, pos)
        return self._slashes[index] if index < len(self._slashes) else len(self.text)

    def digits_end(self, pos: int) -> int:
        """Return the first position from `pos` on that is not a digit."""
        return self._run_end(_DIGITS, pos)

    def run_end(self, convertor: str, pos: int) -> int:
        """Return the first position from `pos` on that a `word` or a `text` does not take."""
        return self._run_end(_RUNS[convertor], pos)

    def _run_end(self, run: re.Pattern[str], pos: int) -> int:
        known = self._runs.get(run.pattern)
        if known is None:
            spans = [found.span() for found in run.finditer(self.text)]
            known = self._runs[run.pattern] = [start for start, _ in spans], [end for _, end in spans]
        starts, ends = known
        index = bisect_right(starts, pos) - 1
        return max(pos, ends[index]) if index >= 0 else pos
