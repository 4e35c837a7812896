"""`--reload`: changed files trigger a reload. The supervisor's side of the watcher."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.machinery
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiny_listener.errors import CannotLoad

from ..ipc.channel import Channel, ChannelClosed, GarbledMessage, fitting, watch_channel_pair
from ..ipc.messages import Changed, FromWatcher, WatchFailed, Watching
from ..policy import describe_exit
from ..system.own_process import become_a_process_of_its_own

if TYPE_CHECKING:
    from ..fleet.forking import Forker

__all__ = ["Reloader", "WatchPlan", "describe_changes", "distrust_bytecode"]

logger = logging.getLogger("tiny_listener.supervisor")

START_TIME = 5.0
"""Seconds to wait for the watcher before the workers start without it; a tree may be huge."""
NAMES = 3
"""Changed files that the log names."""


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What is watched.

    :ivar folders: absolute paths, including everything below
    :ivar includes: patterns of files that trigger a reload
    :ivar excludes: patterns of files and folders that do not, even if they match `includes`
    """

    folders: tuple[str, ...]
    includes: tuple[str, ...] = ("*.py",)
    excludes: tuple[str, ...] = ()

    def __str__(self) -> str:
        but = f", but not of {', '.join(self.excludes)}" if self.excludes else ""
        return f"{', '.join(self.folders)} for changes of {', '.join(self.includes)}{but}"


def describe_changes(paths: Sequence[str], count: int, here: Path) -> str:
    """Describe which files changed.

    :param paths: some of them, absolute
    :param count: the number of all changed files
    :param here: folder that names are shown relative to
    """
    names = [str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path for path in paths[:NAMES]]
    if count > len(names):
        return f"{', '.join(names)} and {count - len(names)} more changed"
    return f"{' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))} changed"


def distrust_bytecode(since: float) -> None:
    """In this process, compile recently changed sources at every import, without reading or writing `.pyc`.

    A `.pyc` identifies its source by size and by the second of the last change (PEP 552 calls that its timestamp).
    After two changes within a second that keep the size, it would serve the first one forever.

    :param since: seconds since the epoch; sources changed later are compiled
    """
    path_stats = importlib.machinery.SourceFileLoader.path_stats

    def path_stats_of_old_sources(self: importlib.machinery.SourceFileLoader, path: Any) -> Any:
        stats = path_stats(self, path)
        if stats["mtime"] >= since:
            # `importlib.abc.SourceLoader` does not cache a source without stats.
            raise OSError(f"{path} changed too recently to be cached")
        return stats

    importlib.machinery.SourceFileLoader.path_stats = path_stats_of_old_sources  # type: ignore[method-assign]


class Reloader:
    """Runs the watcher, a child process, and receives its messages.

    :param on_change: called with a description of what changed
    """

    def __init__(self, plan: WatchPlan, on_change: Callable[[str], object]) -> None:
        self._plan = plan
        self._on_change = on_change
        self._failure: str | None = None
        self._said: set[str] = set()

    async def start(self, forker: Forker) -> None:
        """Fork the watcher. Return when it watches, from when on no change is missed, or when it has failed."""
        self._loop = asyncio.get_running_loop()
        self._settled = asyncio.Event()
        self._channel, theirs = watch_channel_pair()
        kept = forker.kept_fds | {theirs.fileno()}
        try:
            self._process = forker.start(watcher_main, "watcher", self._plan, theirs, kept, os.getpid())
        except OSError as exc:
            raise CannotLoad(f"cannot fork the process that watches files (--reload): {exc.strerror}") from None
        theirs.close()
        self._loop.add_reader(self._channel.fileno(), self._hear)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), START_TIME)

    def stop(self) -> None:
        """End the watcher."""
        if self._channel.fileno() >= 0:
            self._close()
            self._process.kill()
            self._process.join()

    def forget(self) -> None:
        """Forget which failures were logged: the next version of the code may fail differently."""
        self._said.clear()

    def is_news(self, text: str) -> bool:
        """Whether a text has not been passed since the last change: every worker reports the same failure."""
        news = text not in self._said
        self._said.add(text)
        return news

    def _hear(self) -> None:
        try:
            while (received := self._channel.receive()) is not None:
                self._obey(received[0])
        except (ChannelClosed, GarbledMessage):
            self._lose()

    def _obey(self, message: FromWatcher) -> None:
        match message:
            case Watching():
                if message.polls is not None:
                    logger.warning(
                        "%s: polling all files instead; raise the limit, or watch fewer files with --reload-dir",
                        message.polls,
                    )
                logger.info("Watching %s (pid %d)", self._plan, self._process.pid)
                self._settled.set()
            case Changed():
                self._on_change(describe_changes(message.paths, message.count, Path.cwd()))
            case WatchFailed():
                self._failure = f"failed: {message.text}"

    def _lose(self) -> None:
        self._close()
        self._process.join(1)
        self._process.kill()
        words = self._failure or describe_exit(self._process.exitcode or 0)
        logger.error("The watcher %s; changed files no longer trigger a reload, but SIGHUP still does", words)
        self._settled.set()

    def _close(self) -> None:
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()


def watcher_main(
    plan: WatchPlan, channel: Channel[None, FromWatcher], keep_fds: frozenset[int], supervisor_pid: int
) -> None:
    """Watch files, in a process that was just forked."""
    become_a_process_of_its_own(keep_fds, supervisor_pid)
    # These signals may be sent to the whole process group. The watcher ends with the supervisor, not before it.
    for sig in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(sig, signal.SIG_IGN)
    try:
        from .watcher import watch_files  # noqa: PLC0415 - it starts threads, which only this process may have

        watch_files(plan, channel)
    except Exception as exc:
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            channel.send(WatchFailed(fitting(" ".join((str(exc) or type(exc).__name__).split()))))
        raise SystemExit(1) from None
