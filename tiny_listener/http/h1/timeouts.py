"""Decides which timeout a connection has exceeded in its state (see the table in `states`). Pure."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from .states import State

if TYPE_CHECKING:
    from ..settings import HTTPSettings

__all__ = ["Overdue", "WriteProgress", "overdue"]


class Overdue(Enum):
    """The timeout that a client has exceeded."""

    IDLE = "no request came"
    HEAD = "the head was not complete"
    BODY = "the body stalled"
    LINGERING = "the client did not end its side"


def overdue(
    state: State, now: float, settings: HTTPSettings, *, active: float, since: float, awaits_body: bool, draining: bool
) -> Overdue | None:
    """Return the exceeded timeout, or None. `WriteProgress` handles the write timeout.

    All times are on the loop's clock, in seconds.

    :param active: time of the last read or response
    :param since: start of the current head, or of the linger time
    :param awaits_body: whether the connection waits for the rest of a body
    :param draining: whether the server is draining
    """
    if state is State.IDLE:
        # Without keep-alive the connection waits for its first request.
        limit = settings.keep_alive_timeout or settings.header_timeout
        return Overdue.IDLE if now - active > limit else None
    if state is State.HEAD:
        return Overdue.HEAD if now - since > settings.header_timeout else None
    if state is State.LINGERING:
        limit = settings.linger_timeout if draining else settings.linger_time
        return Overdue.LINGERING if now - since > limit or now - active > settings.linger_timeout else None
    if state in (State.CLOSING, State.DEAD):
        return None
    return Overdue.BODY if awaits_body and now - active > settings.body_timeout else None


class WriteProgress:
    """Measures for how long a client has read nothing of what was written.

    :param now: the time on the loop's clock, like all times here
    """

    __slots__ = ("_is_waited_for", "_taken_at", "unsent")

    def __init__(self, now: float) -> None:
        self.unsent = 0
        """Unsent bytes at the last check."""
        self._is_waited_for = False
        self._taken_at = now

    def restart(self, now: float) -> None:
        """The client has read something, or the first bytes were written."""
        self._taken_at = now

    def look(self, unsent: int, now: float, *, is_blocked: bool) -> float:
        """Return for how many seconds the client has read nothing; 0.0 if nothing is unsent.

        :param unsent: bytes in the transport's write buffer
        :param is_blocked: whether writing is blocked, from the buffer or from a file by sendfile(2)
        """
        is_waited_for = unsent > 0 or is_blocked
        if not is_waited_for or unsent < self.unsent or not (self._is_waited_for or is_blocked):
            self._taken_at = now
        self.unsent, self._is_waited_for = unsent, is_waited_for
        return now - self._taken_at
