"""What became of the reload that was asked for last: it runs, every worker has the new code, or it failed."""

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

    :ivar version: how many had been asked for, with this one
    :ivar state: running, done, failed
    :ivar failure: what became of the worker that was to bring the new code, before it was ready or on probation; None
        unless the reload failed
    :ivar exit_code: its exit code, or minus the number of the signal that killed it; 0 unless there was one
    """

    version: int
    state: Literal["running", "done", "failed"]
    failure: str | None = None
    exit_code: int = 0


class Rollout:
    """Follows reloads, each from its beginning to what becomes of it.

    One that is asked for while another runs takes its place: the newest code is what is waited for.

    :param on_end: called when one is done, or has failed, with why
    :ivar last: None before the first
    :ivar done: how many ended well
    :ivar failed: how many did not
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
        """Whether the last reload has not come to its end."""
        return self.last is not None and self.last.state == "running"

    def begin(self, version: int) -> None:
        """A reload was asked for."""
        self.last = ReloadStatus(version, "running")
        self._began = self._clock()

    def look(self) -> None:
        """See whether every slot in use is served by code of now, which has lived through its probation; to be called
        when that may have come true.
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
        """A worker with code of this version did not become ready, or did not stay so; return whether a reload failed
        by it.

        :param failure: why, in words, with the number of its slot
        """
        last = self.last
        if last is None or last.state != "running" or version < last.version:
            return False
        self.last = ReloadStatus(last.version, "failed", failure, exit_code)
        self.failed += 1
        self._on_end(failure)
        return True
