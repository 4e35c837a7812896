"""The carrier of a test: the real engine in this process, in memory, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..events.clock import Clock
from ..events.engine import Effects
from ..events.service import EventService
from ..events.settings import EventSettings
from .record import Record

if TYPE_CHECKING:
    from ..events.envelope import Envelope

__all__ = ["TestCarrier", "VirtualClock"]


class VirtualClock(Clock):
    """A clock that stands still until it is moved. It begins at the time of the system.

    :ivar now: seconds since 1970
    """

    def __init__(self) -> None:
        self.now = float(int(time.time()))  # short numbers in what a test prints

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def translate(self, envelope: Envelope) -> None:
        """See `Clock`: the listener has this clock, too."""

    def call_at(self, when: float, fn: Callable[[], None]) -> asyncio.TimerHandle | None:
        """See `Clock`: who moves the clock sees to what falls due."""
        return None


class _Service(EventService):
    """Tells a record what was written and sent."""

    def __init__(self, settings: EventSettings, clock: Clock, record: Record) -> None:
        super().__init__(settings, clock=clock)
        self._record: Final = record

    def _send(self, effects: Effects) -> None:
        self._record.follow(effects)
        super()._send(effects)


class TestCarrier:
    """Implements `CarrierProvider`.

    :param settings: the limits
    :ivar service: the carrier; it runs from the first link on
    """

    __test__ = False  # pytest collects by name

    def __init__(self, settings: EventSettings) -> None:
        self.settings: Final = settings
        self.clock: Final = VirtualClock()
        self.record: Final = Record()
        self.service: Final[EventService] = _Service(settings, self.clock, self.record)
        self._on_link: Callable[[socket.socket], None] | None = None

    @staticmethod
    def draw(_: float, most: float) -> float:
        """Return the longest wait that jitter may draw, so that a test knows when a retry is due."""
        return most

    def want(self, on_link: Callable[[socket.socket], None], *, starts: bool) -> None:
        """See `CarrierProvider`."""
        if self._on_link is not None:
            return
        self._on_link = on_link
        self.service.start()
        self.service.engine.is_paused = True
        self.link()

    def link(self) -> None:
        """Connect the worker, in place of the link that it has by now."""
        assert self._on_link is not None
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.service.attach(theirs, 0)
        self._on_link(ours)

    @property
    def has_started(self) -> bool:
        """Whether the carrier runs."""
        return self._on_link is not None

    def pause(self, *, is_paused: bool) -> None:
        """Let the carrier start nothing, or go on."""
        if self.has_started:
            self.service.engine.is_paused = is_paused
            self.service.wake()

    async def close(self) -> None:
        """Close the store."""
        if self.has_started:
            await self.service.unlinked()
            await self.service.close()
