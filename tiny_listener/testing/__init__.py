"""Test the handlers of published events: without a server, a disk, or time that passes."""

from .client import EventClient
from .record import Dead, Tracked

__all__ = ["Dead", "EventClient", "Tracked"]
