"""Which limit of time a connection has passed, by the state that it is in (see the table in `states`). Pure."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from .states import State

if TYPE_CHECKING:
    from ..settings import HTTPSettings

__all__ = ["Overdue", "WriteProgress", "overdue"]


class Overdue(Enum):
    """What a client was too slow with."""

    IDLE = "no request came"
    HEAD = "the head was not complete"
    BODY = "the body stalled"
    LINGERING = "the client did not end its side"


def overdue(
    state: State, now: float, settings: HTTPSettings, *, active: float, since: float, awaits_body: bool, draining: bool
) -> Overdue | None:
    """Return what the client is too slow with; None while it is in time. `WriteProgress` has the limit of writing.

    All times are on the loop's clock, in seconds.

    :param active: when something was last read or answered
    :param since: when the head began that is being read, or when lingering began
    :param awaits_body: whether the rest of a body is waited for
    :param draining: whether the server drains
    """
    if state is State.IDLE:
        # Without keep-alive it is the first request that is waited for.
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
    """Whether the client takes what was written; it is looked at now and then.

    :param now: on the loop's clock, as all times here
    """

    __slots__ = ("_is_waited_for", "_taken_at", "unsent")

    def __init__(self, now: float) -> None:
        self.unsent = 0
        """Bytes that the client had not taken at the last look."""
        self._is_waited_for = False
        self._taken_at = now

    def restart(self, now: float) -> None:
        """The client has taken something, or begins to have something to take."""
        self._taken_at = now

    def look(self, unsent: int, now: float, *, is_blocked: bool) -> float:
        """Return for how many seconds the client has taken nothing; 0.0 when it need not.

        :param unsent: bytes that the transport still has
        :param is_blocked: whether the client takes no bytes, of the transport's or of a file's that the kernel sends
        """
        is_waited_for = unsent > 0 or is_blocked
        if not is_waited_for or unsent < self.unsent or not (self._is_waited_for or is_blocked):
            self._taken_at = now
        self.unsent, self._is_waited_for = unsent, is_waited_for
        return now - self._taken_at
