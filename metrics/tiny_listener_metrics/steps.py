"""Work in short steps, so that an event loop can run between them.

Such a function is a generator: it yields between two steps, and returns its result. The numbers below limit the work of
one step, whatever there is to read; each step takes some 2 to 5 ms.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Final, TypeAlias, TypeVar

__all__ = ["ENTRIES", "SAMPLES", "VALUES", "WORDS", "Steps", "finish", "slices"]

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]

WORDS: Final = 16_384
"""Words of a row that one C call reads, reorders or adds."""
ENTRIES: Final = 500
"""Entries of a directory that are decoded, or samples that a prometheus_client metric makes."""
VALUES: Final = 2_000
"""Values that Python adds."""
SAMPLES: Final = 100
"""Samples that prometheus_client writes: it calls a function for each character of a name."""


def finish(steps: Generator[Any, None, T]) -> T:
    """Run all steps, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def slices(length: int, size: int, first: int = 0) -> Iterator[slice]:
    """Return the slices of a sequence from index `first` on, each with at most `size` items."""
    return (slice(start, min(start + size, length)) for start in range(first, length, size))
