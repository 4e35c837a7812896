"""Which file descriptors are open; and says when the process has none left, and when it has again.

Event loops are of no help there: asyncio's logs a traceback for each connection that might wait, thousands in a row,
and stops to accept for a second; uvloop's closes at once whom it accepts with its last descriptor (libuv's
uv__emfile_trick): the client sees a reset, and nobody knows why.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import select
from typing import Any

from ..process.ticks import call_at_next_tick

__all__ = ["DescriptorWatch", "open_descriptors"]

logger = logging.getLogger("tiny_listener")

TICK = 2.0
"""Seconds between two looks: as often as an idle worker wakes for other things (see `ticks`)."""
FOLDERS = ("/proc/self/fd", "/dev/fd")
"""What lists a process's descriptors, see proc_pid_fd(5)."""
MOST = 1 << 16
"""The descriptors that are looked at one by one, where nothing lists them; it takes 20 ms."""


def open_descriptors() -> list[int]:
    """Return the file descriptors that are open, in their order.

    Where neither /proc nor /dev/fd is there, as in some sandboxes, poll(2) tells (POLLNVAL): of the first 65,536.
    """
    for folder in FOLDERS:
        try:
            listed = [int(name) for name in os.listdir(folder)]
        except (OSError, ValueError):
            continue
        return [fd for fd in sorted(listed) if _is_open(fd)]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    numbers = range(MOST if limit == resource.RLIM_INFINITY else min(limit, MOST))
    poll = select.poll()
    for fd in numbers:
        poll.register(fd, 0)
    closed = {fd for fd, event in poll.poll(0) if event & select.POLLNVAL}
    return [fd for fd in numbers if fd not in closed]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:  # the one that listed the folder
        return False
    return True


class DescriptorWatch:
    """Looks once a second whether there is a file descriptor to be had."""

    def __init__(self) -> None:
        self._are_out = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look, in the loop that runs."""
        self.look()
        self._timer = call_at_next_tick(asyncio.get_running_loop(), TICK, self.start)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """See `loop.set_exception_handler`: say what `look` says, once, where asyncio cannot accept."""
        error = context.get("exception")
        if (
            isinstance(error, OSError)
            and error.errno in (errno.EMFILE, errno.ENFILE)
            and "accept" in context["message"]
        ):
            self.look()
        else:
            loop.default_exception_handler(context)

    def look(self) -> None:
        """Say it if that has changed: one line, however many clients are turned away."""
        try:
            os.close(os.open("/", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            if not self._are_out:
                self._are_out = True
                limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
                logger.error(
                    "No file descriptor is left of %d (RLIMIT_NOFILE): new connections are turned away; allow more "
                    "with ulimit -n, or LimitNOFILE= of systemd, or fewer connections with --limit-concurrency", limit,
                )  # fmt: skip
            return
        if self._are_out:
            self._are_out = False
            logger.info("There are file descriptors again: new connections are served")
