"""The watcher, in its own process: it detects changed files and reports them to the supervisor.

The library starts threads, and a process with threads must not fork. So the supervisor never loads it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import time
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import TYPE_CHECKING

from watchfiles import Change, DefaultFilter, watch

from tiny_listener.process.open_files import open_descriptors

from ..ipc.channel import Channel, ChannelClosed
from ..ipc.messages import Changed, FromWatcher, Watching

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .reloader import WatchPlan

__all__ = ["Burst", "ChangeFilter", "watch_files", "watches_are_left"]

LONGEST = 3.0
"""Maximum seconds from the first of several changes until they are reported: a file may change again and again."""
STEP = 50
"""Milliseconds between two checks for events from the system."""
QUIET = 100
"""Milliseconds without a change after which changes are reported."""
POLL = 300
"""Milliseconds between two scans of all files, if the system reports nothing."""
QUIET_POLL = 400
"""The same as `QUIET` when polling: more than the time between two scans."""
MAX_NAMES = 10
IN_CREATE = 0x100


class Burst:
    """Changes in quick succession, reported together.

    :param longest: seconds from the first change until they are reported, even if more follow
    """

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest
        self._paths: set[str] = set()
        self._began = 0.0

    def take(self, paths: set[str], now: float) -> set[str]:
        """Add changes; return what is to be reported now.

        :param paths: empty after a time without a change, which ends the burst
        :param now: in seconds, on the monotonic clock
        """
        if paths and not self._paths:
            self._began = now
        self._paths |= paths
        if paths and now - self._began < self._longest:
            return set()
        told, self._paths = self._paths, set()
        return told


class ChangeFilter(DefaultFilter):
    """Decides which changes trigger a reload.

    It checks names only below the watched folder: an application may live in a folder called `.git`.
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
    """Decide whether a relative path, its name, or a folder that contains it matches one of the patterns (fnmatch)."""
    texts = (str(path), *path.parts)
    return any(fnmatchcase(text, pattern) for pattern in patterns for text in texts)


def watches_are_left(folder: str) -> bool:
    """Whether the system allows one more watch (inotify_add_watch(2)); True if that cannot be determined."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0:
        return True
    try:
        added = libc.inotify_add_watch(fd, os.fsencode(folder), IN_CREATE)
        return bool(added >= 0 or ctypes.get_errno() != errno.ENOSPC)
    finally:
        os.close(fd)


def uses_inotify() -> bool:
    """Whether this process has an inotify instance. Without one the library polls all files.

    True if there is no /proc to tell.
    """
    kinds = []
    for fd in open_descriptors():
        with contextlib.suppress(OSError):
            kinds.append(os.readlink(f"/proc/self/fd/{fd}"))
    return "anon_inode:inotify" in kinds or not kinds


class _Supervised:
    """The stop event that the library checks at every step once it watches.

    The library does not report that the system allows no more watches (fs.inotify.max_user_watches), neither at the
    start nor for a new folder: it just sees no changes there. So this class tries to add one more watch.

    :param polls: why all files are polled; None: the system reports changes
    :ivar run_out: whether to stop because no watch is left
    :ivar folder_is_new: set when a folder may have been added that there was no watch for
    """

    def __init__(self, channel: Channel[None, FromWatcher], plan: WatchPlan, polls: str | None) -> None:
        self._channel = channel
        self._plan = plan
        self._polls = polls
        self._told = False
        self.run_out = False
        self.folder_is_new = True

    def is_set(self) -> bool:
        if self.folder_is_new and self._polls is None and uses_inotify():
            self.run_out = not watches_are_left(self._plan.folders[0])
        self.folder_is_new = False
        try:
            if not self._told and not self.run_out:
                self._told = True
                self._channel.send(Watching(self._polls))
            self._channel.receive()
        except ChannelClosed:
            return True
        return self.run_out


class _Noting(ChangeFilter):
    """Notes new folders, which match no pattern.

    :param supervised: where to note them
    """

    def __init__(self, plan: WatchPlan, supervised: _Supervised) -> None:
        super().__init__(plan)
        self._supervised = supervised

    def __call__(self, change: Change, path: str) -> bool:
        if change is Change.added and os.path.isdir(path):
            self._supervised.folder_is_new = True
        return super().__call__(change, path)


def watch_files(plan: WatchPlan, channel: Channel[None, FromWatcher]) -> None:
    """Report changes until the supervisor is gone.

    :raises OSError: a folder is gone
    """
    try:
        run_out = _watch(plan, channel, None)
        why = "No inotify watch is left (fs.inotify.max_user_watches)"
    except Exception as exc:  # the library has no type for it
        if "os error 24" not in str(exc):  # EMFILE
            raise
        run_out, why = True, "No inotify instance is left (fs.inotify.max_user_instances)"
    if run_out:
        _watch(plan, channel, why)


def _watch(plan: WatchPlan, channel: Channel[None, FromWatcher], polls: str | None) -> bool:
    """Report changes until the supervisor is gone or no watch is left; return whether the latter is the case."""
    supervised, burst = _Supervised(channel, plan, polls), Burst()
    for changes in watch(
        *plan.folders,
        watch_filter=_Noting(plan, supervised),
        stop_event=supervised,
        step=STEP,
        rust_timeout=QUIET if polls is None else QUIET_POLL,
        yield_on_timeout=True,
        force_polling=None if polls is None else True,
        poll_delay_ms=POLL,
        raise_interrupt=False,
        ignore_permission_denied=True,
    ):
        if not _tell(channel, burst.take({path for _, path in changes}, time.monotonic())):
            return False
    return supervised.run_out and _tell(channel, burst.take(set(), time.monotonic()))


def _tell(channel: Channel[None, FromWatcher], changed: set[str]) -> bool:
    """Report changes, if there are any. Return whether the supervisor still runs."""
    # A file name may not be valid text; a message must be.
    paths = sorted(path.encode(errors="replace").decode() for path in changed)
    try:
        if paths:
            channel.send(Changed(paths[:MAX_NAMES], len(paths)))
    except BlockingIOError:  # earlier changes are still in the queue: their reload covers this one too
        pass
    except ChannelClosed:
        return False
    return True
