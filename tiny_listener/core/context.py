"""Contexts: state shared by the events of one conversation, and its lifetime."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias
from weakref import WeakValueDictionary

from ..errors import ContextAlreadyExists
from .aliases import CTX

if TYPE_CHECKING:
    from .dispatch import EventTask
    from .event import Event
    from .listener import Listener
    from .registration import NamedEvent, Route

__all__ = ["Context", "Contexts", "Scope"]

Scope: TypeAlias = dict[str, Any]
"""Application data of a context, by name."""


class Context:
    """State shared by the events of one conversation.

    A context with an explicit id lives, with its events and their results, until `drop()`. One created by the
    framework, or by `new_ctx()` without an id, is freed once its events are done and nothing refers to it.

    :param listener: the listener it belongs to
    :param cid: its id
    :param scope: its initial data
    """

    def __init__(self, listener: Listener[Any], cid: str, scope: Scope | None = None) -> None:
        self.cid: Final = cid
        self.listener: Final = listener
        self.scope: Final[Scope] = {} if scope is None else scope
        self.cache: Final[dict[Any, Any]] = {}
        """Results of dependencies by function; see `Depends`."""
        self.events: Final[defaultdict[Route, list[Event[Any]]]] = defaultdict(list)
        """The events of this context by route, in the order in which they were triggered."""
        self._arrivals: list[asyncio.Future[None]] = []

    @property
    def is_alive(self) -> bool:
        """Whether the listener still has this context under its id."""
        return self.listener.ctxs.get(self.cid) is self

    def drop(self) -> bool:
        """Remove this context from the listener. Return False if it was already removed."""
        return self.listener.ctxs.remove(self)

    def new_event(
        self, route: Route, data: dict[str, Any] | None = None, params: dict[str, Any] | None = None
    ) -> Event[Any]:
        """Create an event of `route` in this context, without running it."""
        from .event import Event  # noqa: PLC0415 - each of the two classes creates the other

        event: Event[Any] = Event(self, route, data, params)
        self.adopt(event)
        return event

    def adopt(self, event: Event[Any]) -> None:
        """Add an event to this context, and wake those that wait for one."""
        self.events[event.route].append(event)
        if self._arrivals:
            for waiter in self._arrivals:
                if not waiter.done():
                    waiter.set_result(None)
            self._arrivals.clear()

    def disown(self, is_one: Callable[[Event[Any]], bool]) -> None:
        """Remove events from this context: those of an attempt after which another one follows."""
        for events in self.events.values():
            events[:] = [event for event in events if not is_one(event)]

    async def wait_for_events(self, route: Route, n: int, for_whom: Event[Any]) -> list[Event[Any]]:
        """Wait until this context has `n` events of `route`, and return the first `n`.

        :param for_whom: the event that waits; see `Event.comes_again`
        """
        while len(found := [event for event in self.events.get(route, ()) if not event.comes_again(for_whom)]) < n:
            waiter = asyncio.get_running_loop().create_future()
            self._arrivals.append(waiter)
            await waiter
        return found[:n]

    def trigger_event(
        self,
        path: str | NamedEvent,
        timeout: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> EventTask:
        """Trigger an event in this context; see `Listener.trigger_event`."""
        return self.listener.trigger_in(self, path, timeout, data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(cid={self.cid!r}, scope={self.scope!r})"


class Contexts(Mapping[str, CTX], Generic[CTX]):
    """The live contexts of a listener by id. Named ones are stored, anonymous ones only weakly referenced."""

    def __init__(self) -> None:
        self._named: dict[str, CTX] = {}
        self._anonymous: WeakValueDictionary[str, CTX] = WeakValueDictionary()

    def add(self, ctx: CTX, *, named: bool) -> None:
        """Add a context: stored if `named`, otherwise weakly referenced.

        :raises ContextAlreadyExists: its id is taken
        """
        if ctx.cid in self:
            raise ContextAlreadyExists(f"Context {ctx.cid!r} already exists; get_ctx({ctx.cid!r}) returns it")
        registry = self._named if named else self._anonymous
        registry[ctx.cid] = ctx

    def remove(self, ctx: Context) -> bool:
        """Remove a context. Return False if it is unknown."""
        for registry in (self._named, self._anonymous):
            if registry.get(ctx.cid) is ctx:
                del registry[ctx.cid]
                return True
        return False

    def __getitem__(self, cid: str) -> CTX:
        try:
            return self._named[cid]
        except KeyError:
            return self._anonymous[cid]

    def __iter__(self) -> Iterator[str]:
        yield from self._named
        yield from self._anonymous

    def __len__(self) -> int:
        return len(self._named) + len(self._anonymous)
