"""A CloudEvent that is handled before its request is answered, as its handler gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...core.event import Event
from ...core.publishing.payload import items_of

if TYPE_CHECKING:
    from ...cloudevents import CloudEvent
    from ...core.aliases import PathParams
    from ...core.listener import Listener
    from ...core.registration import Route

__all__ = ["ReceivedEvent"]


class ReceivedEvent(Event[Any]):
    """An event with the attributes and the data of a CloudEvent.

    :param event: as it was received
    :param ctx: its context, if another event has made one
    """

    __slots__ = ("cloudevent",)

    def __init__(
        self, route: Route, params: PathParams, listener: Listener[Any], event: CloudEvent, ctx: Any = None
    ) -> None:
        super().__init__(ctx, route, items_of(event.data), params, listener)
        self.cloudevent: Final = event

    @property
    def key(self) -> str | None:
        """See `Event`: the extension `partitionkey`."""
        return self.cloudevent.partitionkey

    @property
    def attributes(self) -> dict[str, str]:
        """See `Event`."""
        return self.cloudevent.attributes

    @property
    def payload(self) -> Any:
        """See `Event`."""
        return self.cloudevent.data

    def sibling(self, route: Route) -> Event[Any]:
        """See `Event`."""
        one = ReceivedEvent(route, self.params, self.listener, self.cloudevent, self._ctx)
        if self._ctx is not None:
            self._ctx.adopt(one)
        return one
