"""Work that is done in steps, each of them short, so that an event loop can go on between two.

A function that works so is a generator: it yields between two steps, and returns its result. How much one step does is
bounded by these numbers, whatever there is to read; each takes some 2 to 5 ms.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Final, TypeAlias, TypeVar

__all__ = ["ENTRIES", "SAMPLES", "VALUES", "WORDS", "Steps", "finish", "slices"]

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]

WORDS: Final = 16_384
"""Words of a row that one call of C reads, puts in order, or adds."""
ENTRIES: Final = 500
"""Entries of a directory that are decoded, or samples that a metric of prometheus_client makes."""
VALUES: Final = 2_000
"""Values that Python adds to others."""
SAMPLES: Final = 100
"""Samples that prometheus_client writes: it calls a function for each character of a name."""


def finish(steps: Generator[Any, None, T]) -> T:
    """Take all steps at once, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def slices(length: int, size: int, first: int = 0) -> Iterator[slice]:
    """Return the slices of a sequence from its item `first` on, each of at most `size` items."""
    return (slice(start, min(start + size, length)) for start in range(first, length, size))
