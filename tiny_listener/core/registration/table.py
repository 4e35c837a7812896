"""The routes of a listener: by name, and by the texts that they match."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import EventAlreadyExists, EventNotFound
from ...router import Router
from ..injection.signatures import function_name
from .named import NamedEvent, name_event
from .route import Route
from .subscribers import subscribe, unsubscribe

if TYPE_CHECKING:
    from ..aliases import PathParams
    from ..hooks import Hooks
    from .registrar import Definition

__all__ = ["RouteTable"]


class RouteTable:
    """The routes of a listener.

    :param hooks: the hooks of the listener
    """

    def __init__(self, hooks: Hooks) -> None:
        self.by_name: dict[str, Route] = {}
        self.router: Router[Route] = Router()
        self._hooks = hooks

    def add(self, definition: Definition) -> Route:
        """Make a route of a definition, and add it.

        :raises EventAlreadyExists: a route with its name exists
        :raises RouteError: see `Route`; or its pattern is registered already
        """
        name = definition.name
        if name is None and function_name(definition.fn) == "_" and "_" in self.by_name:
            name = definition.path  # a function that its author did not name
        route = Route(
            definition.path,
            definition.fn,
            definition.opts,
            name,
            is_http=definition.is_http,
            scopes=(self._hooks, *definition.scopes),
            dependencies=definition.dependencies,
        )
        known = self.by_name.get(route.name)
        if known is not None:
            raise EventAlreadyExists(
                f"Route {route.name!r} of {route.where} already exists, registered by {known.where} "
                f"for {known.path!r}; rename the function, or give one of them (or its group) a name=..."
            )
        if definition.is_one_of_many:
            subscribe(self.router, route, self._hooks)
        else:
            self.router.add(route)
        self.by_name[route.name] = route
        for scope in route.scopes:
            scope.routes.append(route)
        return route

    def remove(self, name: str | Callable[..., Any]) -> bool:
        """Remove a route by its name or its handler. Return False if there is none."""
        if isinstance(name, str):
            route = self.by_name.get(name)
        else:
            route = next((route for route in self.by_name.values() if route.fn == name), None)
        if route is None:
            return False
        del self.by_name[route.name]
        unsubscribe(self.router, route)
        for scope in route.scopes:
            scope.routes.remove(route)
        return True

    def get(self, name: str) -> Route:
        """Return a route by its name.

        :raises EventNotFound: no route has this name
        """
        try:
            return self.by_name[name]
        except KeyError:
            raise EventNotFound(f"No route is named {name!r}") from None

    def match(self, event: str | NamedEvent) -> tuple[Route, PathParams]:
        """Return the route of an event and its converted parameters.

        :param event: a text that must match a pattern, or a name
        :raises EventNotFound: no pattern matches
        """
        if isinstance(event, NamedEvent):
            return event.route, dict(event.params)
        found = self.router.match(event)
        if found is None:
            raise EventNotFound(f"No handler is registered for the event {event!r}")
        return found

    def name(self, pattern: str, params: dict[str, Any]) -> NamedEvent:
        """Return the event of a pattern; see `Listener.event`."""
        return name_event(self.router, pattern, params)
