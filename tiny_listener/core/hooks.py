"""The hooks of a listener or a group, and which of them concern a route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from ..events.envelope import Envelope
    from .aliases import AnyEvent
    from .injection import Hook

__all__ = ["Hooks", "Planned", "Sender", "Watcher"]


class Watcher(Protocol):
    """Is called before and after each event of a listener. The methods must not raise."""

    def began(self, event: AnyEvent) -> None:
        """Called before the hooks of an event, in the context (contextvars) of that event."""

    def ended(self, event: AnyEvent) -> None:
        """Called when an event has its result or its error."""


class Sender(Protocol):
    """Is called when an event is published, before it is sent. It must not raise."""

    def __call__(self, envelope: Envelope) -> Callable[[Future[Any]], None]:
        """Add attributes to the event. Return what is called with the future of the publisher when that is done."""


class Planned(Protocol):
    """A route, which stores the hooks that concern it."""

    def plan_hooks(self) -> None:
        """Called when hooks were added."""


class Hooks:
    """Hooks by kind, in the order of registration; those of a group concern its routes only."""

    __slots__ = ("after", "before", "dispatched", "on_error", "routes", "senders", "watchers")

    def __init__(self) -> None:
        self.before: list[Hook] = []
        self.after: list[Hook] = []
        self.on_error: list[tuple[type[BaseException], Hook]] = []
        self.dispatched = 0
        """Number of dispatched events, whatever their outcome."""
        self.watchers: list[Watcher] = []
        """Called when an event begins and when it has ended."""
        self.senders: list[Sender] = []
        """Called when an event is published."""
        self.routes: list[Planned] = []
        """The routes that these hooks concern."""

    def add_watcher(self, watcher: Watcher) -> None:
        """Add a watcher. Call it before the listener runs, because the server configures its fast path by it."""
        self.watchers.append(watcher)
        self.plan()

    def add_before(self, hook: Hook) -> None:
        """Run a hook before each handler."""
        self.before.append(hook)
        self.plan()

    def add_after(self, hook: Hook) -> None:
        """Run a hook after each event that did not fail."""
        self.after.append(hook)
        self.plan()

    def add_on_error(self, kind: type[BaseException], hook: Hook) -> None:
        """Run a hook when an event fails with an exception of class `kind`."""
        self.on_error.append((kind, hook))
        self.plan()

    def plan(self) -> None:
        """Let all routes plan their hooks again."""
        for route in self.routes:
            route.plan_hooks()
