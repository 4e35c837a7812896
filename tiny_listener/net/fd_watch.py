"""Logs when the process has run out of file descriptors, and when it has some again.

Event loops do not report that well. asyncio logs a traceback for each connection that might wait, thousands in a row,
and stops accepting for a second. uvloop closes each connection that it accepts with its last descriptor at once
(libuv's uv__emfile_trick): the client sees a reset, and nothing says why.
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
"""Seconds between two checks: the period of other timers of an idle worker (see `ticks`)."""


class DescriptorWatch:
    """Checks regularly whether a file descriptor is available."""

    def __init__(self) -> None:
        self._are_out = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start checking, in the running loop."""
        self.look()
        self._timer = call_at_next_tick(asyncio.get_running_loop(), TICK, self.start)

    def stop(self) -> None:
        """Stop checking."""
        if self._timer is not None:
            self._timer.cancel()

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """See `loop.set_exception_handler`: if asyncio cannot accept, log what `look` logs, once."""
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
        """Log a change: one line, however many clients are refused."""
        try:
            os.close(os.open("/", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            if not self._are_out:
                self._are_out = True
                limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
                logger.error(
                    "All %d file descriptors are in use (RLIMIT_NOFILE): new connections are refused; raise the limit "
                    "with ulimit -n, or LimitNOFILE= of systemd, or allow fewer requests with --limit-concurrency",
                    limit,
                )  # fmt: skip
            return
        if self._are_out:
            self._are_out = False
            logger.info("File descriptors are available again: new connections are accepted")
