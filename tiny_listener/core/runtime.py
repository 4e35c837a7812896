"""What stands around a listener: the process that runs it, alone or as one of many."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .observer import NULL_OBSERVER, Observer

if TYPE_CHECKING:
    from ..net.provider import SocketProvider
    from ..process.last_resort import LastResort

__all__ = ["Host"]


@dataclass(slots=True)
class Host:
    """The process around a listener: what it lends, what it is told, and its terms."""

    observer: Observer = NULL_OBSERVER
    sockets: SocketProvider | None = None
    on_ready: Callable[[], None] = field(default=lambda: None)
    """Called once, when the listener is ready to take events."""
    signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    """Signals that begin a graceful shutdown; a second one ends it at once."""
    graceful_timeout: float = 30.0
    """Seconds that running events may take after a shutdown began."""
    drain_delay: float = 0.0
    """Seconds from a shutdown's beginning until nothing new is accepted."""
    slot: int = 0
    """The stable number of this worker, 0 to N - 1."""
    last_resort: LastResort | None = None
    """Ends the process when a stop takes too long; None: the process is the application's, which `run()` returns to."""
