"""What the watcher does in its own process: it sees files change, and tells the supervisor.

The library has threads of its own, and a process that has threads must not fork: so the supervisor never loads it.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import TYPE_CHECKING

from watchfiles import Change, DefaultFilter, watch

from .channel import Channel, ChannelClosed
from .messages import Changed, FromWatcher, Watching

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .reloading import WatchPlan

__all__ = ["ChangeFilter", "watch_files"]

DEBOUNCE = 1000
"""Milliseconds at most from the first of several changes until they are told."""
QUIET = 50
"""Milliseconds without a change after which they are told."""
MAX_NAMES = 10


class ChangeFilter(DefaultFilter):
    """Which changes of files matter.

    Names are looked at below the watched folder only: an application may live in a folder that is called `.git`.
    """

    ignore_dirs = (*DefaultFilter.ignore_dirs, ".nox", ".ruff_cache", "site-packages", "dist-packages")

    def __init__(self, plan: WatchPlan) -> None:
        super().__init__()
        self._plan = plan

    def __call__(self, change: Change, path: str) -> bool:
        """See `watchfiles.BaseFilter`."""
        below = [PurePath(path).relative_to(f) for f in self._plan.folders if PurePath(path).is_relative_to(f)]
        return any(self._matters(change, relative) for relative in below)

    def _matters(self, change: Change, relative: PurePath) -> bool:
        return (
            super().__call__(change, str(relative))
            and matches(relative, self._plan.includes)
            and not matches(relative, self._plan.excludes)
        )


def matches(path: PurePath, patterns: Iterable[str]) -> bool:
    """Decide whether a relative path, its name, or a folder that it is in, matches one of some patterns (fnmatch)."""
    texts = (str(path), *path.parts)
    return any(fnmatchcase(text, pattern) for pattern in patterns for text in texts)


class _Supervised:
    """Asked by the library at every step, from when it watches: whether to end."""

    def __init__(self, channel: Channel[None, FromWatcher]) -> None:
        self._channel = channel
        self._told = False

    def is_set(self) -> bool:
        try:
            if not self._told:
                self._told = True
                self._channel.send(Watching())
            self._channel.receive()
        except ChannelClosed:
            return True
        return False


def watch_files(plan: WatchPlan, channel: Channel[None, FromWatcher]) -> None:
    """Tell about changes until the supervisor is gone.

    :raises OSError: a folder is gone, or the system allows no more watches
    """
    for changes in watch(
        *plan.folders,
        watch_filter=ChangeFilter(plan),
        stop_event=_Supervised(channel),
        debounce=DEBOUNCE,
        step=QUIET,
        raise_interrupt=False,
        ignore_permission_denied=True,
    ):
        # A name need not be text; what is said of it must.
        paths = sorted(path.encode(errors="replace").decode() for path in {path for _, path in changes})
        try:
            channel.send(Changed(paths[:MAX_NAMES], len(paths)))
        except BlockingIOError:  # changes that it has not heard of yet wait there: it will load this one with them
            continue
        except ChannelClosed:
            return
