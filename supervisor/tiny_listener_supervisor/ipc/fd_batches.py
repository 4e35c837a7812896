"""File descriptors that are too many for one message: sent in parts, and put together again."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Sequence

import msgspec

__all__ = ["MAX_FDS", "Parcel", "Parcels", "parts_of"]

MAX_FDS = 64
"""File descriptors beside one message; the kernel takes 253 (SCM_MAX_FD, unix(7)), of whoever may have as many open."""


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A message that comes with file descriptors, maybe in several parts.

    :ivar part: its number, from 0 on
    :ivar last: whether no other follows
    """

    part: int = 0
    last: bool = True


def parts_of(fds: Sequence[int]) -> Iterator[tuple[int, bool, list[int]]]:
    """Yield each part: its number, whether it is the last, its file descriptors; one part where there are none."""
    pieces = [list(fds[at : at + MAX_FDS]) for at in range(0, len(fds), MAX_FDS)] or [[]]
    for number, piece in enumerate(pieces):
        yield number, number == len(pieces) - 1, piece


class Parcels:
    """Those of which some parts have come."""

    def __init__(self) -> None:
        self._begun: dict[Hashable, tuple[int, list[int]]] = {}

    def add(self, key: Hashable, part: Parcel, fds: Sequence[int]) -> list[int] | None:
        """Add a part; return all file descriptors when it was the last, which are the caller's to close.

        A part 0 begins anew. One whose predecessor is not here, for it was lost, is closed.

        :param key: which parcel it belongs to
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
        """Close what has come of a parcel: the rest never will."""
        _close(self._begun.pop(key, (0, []))[1])


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
