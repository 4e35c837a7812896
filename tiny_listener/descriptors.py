"""Says when the process has no file descriptor left, and when it has again.

Event loops are silent there: asyncio's stops to accept for a second, and uvloop's closes at once whom it accepts
with its last descriptor (libuv's uv__emfile_trick). The client sees a reset, and nobody knows why.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource

__all__ = ["DescriptorWatch"]

logger = logging.getLogger("tiny_listener")

TICK = 1.0
"""Seconds between two looks."""


class DescriptorWatch:
    """Looks once a second whether there is a file descriptor to be had."""

    def __init__(self) -> None:
        self._are_out = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look, in the loop that runs."""
        self.look()
        self._timer = asyncio.get_running_loop().call_later(TICK, self.start)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

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
