"""What an application calls to publish events."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import EventNotFound, ListenerError

if TYPE_CHECKING:
    from ..listener import Listener
    from ..registration import NamedEvent
    from .client import Published
    from .publisher import Publisher

__all__ = ["Publication", "Publishes", "open_publisher"]


@dataclass(frozen=True, slots=True)
class Publication:
    """One event for `publish_many`. The fields are the arguments of `Listener.publish`."""

    path: str | NamedEvent
    data: Any = None
    key: str | int | bytes | None = None
    id: str | None = None
    delay: float | dt.timedelta | None = None
    at: float | dt.datetime | None = None
    cid: str | None = None
    attributes: Mapping[str, str] | None = None


class Publishes:
    """Publishes events: a part of every listener."""

    publisher: Publisher | None = None
    """None unless the listener runs and has a route for published events."""

    def publish(
        self,
        path: str | NamedEvent,
        data: Any = None,
        *,
        key: str | int | bytes | None = None,
        id: str | None = None,  # noqa: A002
        delay: float | dt.timedelta | None = None,
        at: float | dt.datetime | None = None,
        timeout: float = 30.0,
        cid: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> asyncio.Future[Published]:
        """Store an event, to be handled by one of the workers, at least once. Await it: it is stored when that returns.

        Events with the same key are handled one at a time, in the order in which they were stored. Without a key no
        order is promised.

        :param path: the event's text, which must match a pattern; or its name, from `event()`
        :param data: what msgspec encodes as JSON, or bytes
        :param key: 1 to 256 bytes as text
        :param id: by which a repeated event is recognised for two minutes; by default a new one
        :param delay: seconds until it is handled, or a timedelta
        :param at: when it is handled: a datetime with a time zone, or seconds since 1970
        :param timeout: seconds that it may take to be stored
        :param cid: the id of the context to handle it in, at the worker that has the context, without an order
        :param attributes: further attributes, for the handler's `event.attributes`
        :raises EventNotFound: no pattern matches
        :raises EventTooLarge: it has more than 256 KiB
        :raises NotStored: it is not known to be stored; to publish it again with the same `id` is safe
        :raises EventsOverloaded: too many events are waiting
        :raises CarrierError: the store cannot be opened
        :raises ListenerError: the listener is not running
        :raises TypeError: an argument has a wrong type
        :raises ValueError: an argument has a wrong value
        """
        one = Publication(path, data, key, id, delay, at, cid, attributes)
        return self._publisher_for(path, "publish").publish(one, timeout=timeout)[0]

    async def publish_many(self, events: Iterable[Publication], *, timeout: float = 30.0) -> list[Published]:  # noqa: ASYNC109
        """Store several events, in their order, and return when all are stored. If one has a wrong argument, none is.

        :raises ExceptionGroup: several are not stored; the others are
        :raises NotStored: one of them is not; other errors are those of `publish`
        """
        several = list(events)
        if not several:
            return []
        for one in several:
            if not isinstance(one, Publication):
                raise TypeError(f"publish_many() takes Publication(path, data, ...), not {one!r}")
        publishing = self._publisher_for(several[0].path, "publish_many").publish(*several, timeout=timeout)
        await asyncio.wait(publishing)
        errors = [error for future in publishing if isinstance(error := future.exception(), Exception)]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(publishing)} events are not known to be stored", errors)
        return [future.result() for future in publishing]

    async def request(
        self,
        path: str | NamedEvent,
        data: Any = None,
        *,
        key: str | int | bytes | None = None,
        timeout: float = 30.0,  # noqa: ASYNC109
        cid: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Any:
        """Publish an event, wait until it was handled, wherever that is, and return its result (as JSON has it).

        An event that is not begun in time is discarded.

        :param timeout: seconds until the result must be there
        :raises RemoteError: the handler failed for good
        :raises TimeoutError: there is no result in time; the event may be handled nevertheless
        :raises WouldDeadlock: the key is held by an event that waits for this request
        :raises NotStored: see `publish`, whose other errors this raises too
        """
        one = Publication(path, data, key, cid=cid, attributes=attributes)
        return await self._publisher_for(path, "request").request(one, timeout)

    def _publisher_for(self, path: object, what: str) -> Publisher:
        if self.publisher is not None:
            return self.publisher
        listener: Any = self
        if listener.event_pool.tasks is None:
            raise ListenerError(f"{what}() needs a running listener: call it from a handler, or from listen()")
        raise EventNotFound(f"No handler is registered for the event {path!r}: every route is one of requests")


async def open_publisher(listener: Listener[Any]) -> None:
    """Let a listener publish and handle published events, if it has a route for them."""
    if all(route.is_http for route in listener.router):
        return
    from .embedded import default_carrier  # noqa: PLC0415 - only applications with such routes need it
    from .publisher import Publisher  # noqa: PLC0415

    publisher = Publisher(listener, listener.host.carrier or default_carrier())
    await listener.open_source(publisher.consumer)
    listener.publisher = publisher
    listener.lifecycle.last.append(publisher.close)
