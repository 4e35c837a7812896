"""A source of events, as a listener's shutdown sees it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Source"]


class Source(Protocol):
    """Something that takes events in from outside, such as the HTTP server."""

    @property
    def in_hand(self) -> int:
        """How many events it has taken in that have not ended."""

    @property
    def open_connections(self) -> int:
        """How many connections clients have with it."""

    def drain(self) -> None:
        """Take nothing new; let what is in flight finish."""

    async def wait_drained(self) -> None:
        """Return when nothing is in flight any more."""

    def abort(self) -> list[str]:
        """Drop what is still in flight; return a description of each, for the log."""
