"""Says when the process has no file descriptor left, and when it has again.

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
from typing import Any

from ..process.ticks import call_at_next_tick

__all__ = ["DescriptorWatch"]

logger = logging.getLogger("tiny_listener")

TICK = 2.0
"""Seconds between two looks: as often as an idle worker wakes for other things (see `ticks`)."""


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
