"""Batches of file descriptors that are too large for one message: sent in parts, and reassembled."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Sequence

import msgspec

__all__ = ["MAX_FDS", "FdBatch", "FdBatches", "parts_of"]

MAX_FDS = 64
"""File descriptors per message. The kernel allows 253 (SCM_MAX_FD, unix(7)) if the receiver may have as many open."""


class FdBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A message with file descriptors, possibly one of several parts.

    :ivar part: number of the part, from 0
    :ivar last: whether this is the last part
    """

    part: int = 0
    last: bool = True


def parts_of(fds: Sequence[int]) -> Iterator[tuple[int, bool, list[int]]]:
    """Yield each part: its number, whether it is the last, and its file descriptors. An empty batch has one part."""
    pieces = [list(fds[at : at + MAX_FDS]) for at in range(0, len(fds), MAX_FDS)] or [[]]
    for number, piece in enumerate(pieces):
        yield number, number == len(pieces) - 1, piece


class FdBatches:
    """Batches of which some parts have arrived."""

    def __init__(self) -> None:
        self._begun: dict[Hashable, tuple[int, list[int]]] = {}

    def add(self, key: Hashable, part: FdBatch, fds: Sequence[int]) -> list[int] | None:
        """Add a part. After the last part, return all file descriptors of the batch; the caller must close them.

        Part 0 starts the batch again. A part whose predecessor was lost is closed.

        :param key: identifies the batch
        """
        if part.part == 0:
            self.drop(key)
        come, have = self._begun.pop(key, (0, []))
        if part.part != come:
            _close([*have, *fds])
            return None
        have += fds
        if part.last:
            return have
        self._begun[key] = come + 1, have
        return None

    def drop(self, key: Hashable) -> None:
        """Close what has arrived of a batch: the rest is lost."""
        _close(self._begun.pop(key, (0, []))[1])


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
