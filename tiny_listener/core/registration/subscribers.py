"""Several handlers of one event."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ...errors import RouteError
from ..dispatch import dispatch
from ..event import Event
from ..observer import NULL_OBSERVER
from .route import Route

if TYPE_CHECKING:
    from ...router import Router
    from ..aliases import AnyEvent
    from ..hooks import Hooks
    from ..observer import RouteObserver

__all__ = ["Subscribers", "subscribe", "unsubscribe"]


class Subscribers(Route):
    """The route of a pattern with subscribers. Each of them handles an event of its own, with its hooks and metrics.

    The result of the event is the list of their results, in the order of subscription. If one fails, the others still
    run to their end; then the event fails with its error, or with an ExceptionGroup of several.

    :param first: the first subscriber
    :param hooks: the hooks of the listener
    """

    __slots__ = ("_hooks", "subscribers")

    def __init__(self, first: Route, hooks: Hooks) -> None:
        self.subscribers: list[Route] = [first]
        self._hooks = hooks
        super().__init__(first.path, self._run_all, name=first.name, is_http=first.is_http)

    async def _run_all(self, event: Event) -> list[Any]:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_outcome(self._run(event, route))) for route in tuple(self.subscribers)]
        outcomes = [task.result() for task in running]
        errors = [error for _, error in outcomes if error is not None]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup(f"{len(errors)} subscribers of {self.path!r} failed", errors)
        return [value for value, _ in outcomes]

    def _run(self, event: AnyEvent, route: Route) -> Coroutine[Any, Any, Any]:
        of_one = event.sibling(route)
        return dispatch(of_one, self._hooks)

    @property
    def where(self) -> str:
        """The first subscriber and its place in the source."""
        return self.subscribers[0].where

    @property
    def observer(self) -> RouteObserver:
        """The event itself is not counted: those of its subscribers are."""
        return NULL_OBSERVER.route_added(self)

    @observer.setter
    def observer(self, observer: RouteObserver) -> None:
        pass


async def _outcome(running: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    try:
        return await running, None
    except asyncio.CancelledError:
        raise
    except BaseException as exc:
        return None, exc


def subscribe(router: Router[Route], route: Route, hooks: Hooks) -> None:
    """Add a subscriber to the event of its pattern.

    :raises RouteError: the event has a handler that is no subscriber, the pattern names its parameters otherwise, or it
        is one of requests
    """
    if route.is_http:
        raise RouteError(f"{route.where}: a request has one response, so it has one handler: use on_event()")
    other = router.get(route.pattern)
    if other is None:
        router.add(Subscribers(route, hooks))
    elif not isinstance(other, Subscribers):
        raise RouteError(
            f"{route.where} subscribes to {route.path!r}, which {other.where} handles alone: "
            "register both by subscribe()"
        )
    elif other.path != route.path:
        raise RouteError(
            f"{route.where} subscribes to {route.path!r}, and {other.where} to {other.path!r}, which is the same: "
            "give the parameters the same names"
        )
    else:
        other.subscribers.append(route)
    route.label = f"{route.path} [{route.name}]"


def unsubscribe(router: Router[Route], route: Route) -> None:
    """Remove a route, which may be a subscriber."""
    other = router.get(route.pattern)
    if not isinstance(other, Subscribers):
        router.remove(route)
        return
    other.subscribers.remove(route)
    if not other.subscribers:
        router.remove(other)
