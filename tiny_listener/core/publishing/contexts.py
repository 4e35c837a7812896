"""The contexts that published events have named, and when they go: nobody calls `drop()` on them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..context import Context
    from ..event import Event
    from ..listener import Listener

__all__ = ["MAX_CONTEXTS", "MAX_EVENTS", "UNUSED", "PublishedContexts"]

UNUSED: Final = 300.0
"""Seconds after its last event until a context goes."""
MAX_CONTEXTS: Final = 1000
"""Contexts whose events are done. For a new one the one goes that was unused for longest."""
MAX_EVENTS: Final = 1000
"""Events of one route in one context. For a new one the oldest goes that is done."""
LOOKS: Final = 4
"""Contexts to look at for each event that comes: more than come, so that a backlog shrinks."""


class PublishedContexts:
    """Finds or makes the context of a published event. Those that it makes go when they are unused, or too many.

    A context that the application made lives until `drop()`, as ever.

    :param listener: has the contexts
    :param clock: returns seconds
    """

    def __init__(self, listener: Listener[Any], clock: Callable[[], float]) -> None:
        self._listener: Final = listener
        self._clock: Final = clock
        self._used: Final[dict[str, tuple[Context, float]]] = {}
        """Ours by id, and when each was last used; the one that was unused for longest first."""

    def of(self, cid: str) -> Any:
        """Return the context of an event that has come."""
        now = self._clock()
        self._forget_unused(now)
        ctx: Any = self._listener.ctxs.get(cid)
        ours, _ = self._used.pop(cid, (None, 0.0))
        if ctx is None:
            ctx = self._listener.new_ctx(cid)
        elif ctx is not ours:
            return ctx
        self._used[cid] = ctx, now
        for events in ctx.events.values():
            if len(events) >= MAX_EVENTS:
                _forget_oldest(events)
        return ctx

    def _forget_unused(self, now: float) -> None:
        for cid in list(islice(self._used, LOOKS)):
            ctx, at = self._used[cid]
            if now - at < UNUSED and len(self._used) < MAX_CONTEXTS:
                return
            del self._used[cid]
            if all(event.is_done for events in ctx.events.values() for event in events):
                ctx.drop()
            elif ctx.is_alive:
                self._used[cid] = ctx, now


def _forget_oldest(events: list[Event[Any]]) -> None:
    """Remove those that are done, the oldest first: a tenth more than is needed, so that it is not needed each time."""
    number = len(events) - MAX_EVENTS + MAX_EVENTS // 10
    done = [event for event in events if event.is_done][:number]
    gone = set(map(id, done))
    events[:] = [event for event in events if id(event) not in gone]
