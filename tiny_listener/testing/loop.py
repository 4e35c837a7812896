"""An event loop that says when it has nothing to do."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

__all__ = ["IdleLoop"]

OWN: Final = "tiny_listener."


class _Selector(selectors.DefaultSelector):
    """Asks before the loop waits.

    :ivar on_idle: called when the loop would wait; returns the seconds that it may wait at most, 0 if it has work now
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_idle: Callable[[float | None], float | None] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors`."""
        if self.on_idle is None or (timeout is not None and timeout <= 0):
            return super().select(timeout)
        return super().select(0) or super().select(self.on_idle(timeout))


class IdleLoop(asyncio.SelectorEventLoop):
    """A loop in which a test can wait until nothing is left to do."""

    def __init__(self) -> None:
        self._idle: Final = _Selector()
        self._timers: list[asyncio.TimerHandle] = []
        super().__init__(self._idle)
        self._files = len(self._idle.get_map())

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio.loop.call_at`. The timers of tiny-listener itself are remembered as such: they do no work."""
        timer = super().call_at(when, callback, *args, context=context)
        if not (getattr(callback, "__module__", None) or "").startswith(OWN):
            self._timers.append(timer)
        return timer

    def _has_timers(self) -> bool:
        now = self.time()
        self._timers = [timer for timer in self._timers if timer.when() > now and not timer.cancelled()]
        return bool(self._timers)

    async def until_idle(
        self, is_busy: Callable[[], bool], progress: Callable[[], object], patience: float, own_files: int
    ) -> None:
        """Return when the loop has nothing to do and nothing is busy; or when what is busy cannot go on, because it
        waits for something that nothing in this process will do; or when it has not come on for a while.

        :param is_busy: whether something is busy
        :param progress: returns another value when something has come on
        :param patience: seconds
        :param own_files: open sockets that do nothing by themselves
        """
        idle: asyncio.Future[None] = self.create_future()
        last, until = progress(), time.monotonic() + patience

        def on_idle(timeout: float | None) -> float | None:
            nonlocal last, until
            now = time.monotonic()
            if (new := progress()) != last:
                last, until = new, now + patience
            others = len(self._idle.get_map()) - self._files - own_files
            can_go_on = self._has_timers() or others > 0 or threading.active_count() > 1
            if idle.done() or not is_busy() or not can_go_on or now >= until:
                if not idle.done():
                    idle.set_result(None)
                return 0
            return until - now if timeout is None else min(timeout, until - now)

        self._idle.on_idle = on_idle
        try:
            await idle
        finally:
            self._idle.on_idle = None
