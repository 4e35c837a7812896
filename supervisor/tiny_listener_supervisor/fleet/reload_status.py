"""The outcome of the last reload: running, done or failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from .scaling import in_use

if TYPE_CHECKING:
    from .slot import Slot

__all__ = ["ReloadStatus", "Rollout"]

logger = logging.getLogger("tiny_listener.supervisor")


class ReloadStatus(msgspec.Struct, frozen=True):
    """The last reload.

    :ivar version: number of reloads requested, including this one
    :ivar state: running, done, failed
    :ivar failure: how the worker with the new code failed, before it was ready or on probation; None unless the reload
        failed
    :ivar exit_code: its exit code, or the negated number of the signal that killed it; 0 if there is none
    """

    version: int
    state: Literal["running", "done", "failed"]
    failure: str | None = None
    exit_code: int = 0


class Rollout:
    """Tracks reloads from start to outcome.

    A reload that is requested while another one runs replaces it: only the newest code is waited for.

    :param on_end: called at the end of a reload with the reason of its failure, or None
    :ivar last: the last reload; None before the first
    :ivar done: number of reloads that succeeded
    :ivar failed: number of reloads that failed
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        on_end: Callable[[str | None], None] = lambda _failure: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = slots
        self._on_end = on_end
        self._clock = clock
        self._began = 0.0
        self.last: ReloadStatus | None = None
        self.done = self.failed = 0

    @property
    def is_running(self) -> bool:
        """Whether a reload is in progress."""
        return self.last is not None and self.last.state == "running"

    def begin(self, version: int) -> None:
        """A reload was requested."""
        self.last = ReloadStatus(version, "running")
        self._began = self._clock()

    def look(self) -> None:
        """Check whether every slot in use is served by a worker with the new code that has passed its probation. Call
        this whenever that may have become true.
        """
        last = self.last
        if last is None or last.state != "running":
            return
        workers = [slot.worker for slot in in_use(self._slots) if slot.is_ready]
        new = [one for one in workers if one is not None and one.version >= last.version and not one.on_probation]
        if len(new) == len(in_use(self._slots)):
            self.last = ReloadStatus(last.version, "done")
            self.done += 1
            took = self._clock() - self._began
            logger.info("Reload %d is done after %.1f s", last.version, took, extra={"duration": round(took, 3)})
            self._on_end(None)

    def worker_failed(self, version: int, failure: str, exit_code: int = 0) -> bool:
        """A worker with code of this version failed to become or to stay ready. Return whether that fails a reload.

        :param failure: the reason, with the slot number
        """
        last = self.last
        if last is None or last.state != "running" or version < last.version:
            return False
        self.last = ReloadStatus(last.version, "failed", failure, exit_code)
        self.failed += 1
        self._on_end(failure)
        return True
