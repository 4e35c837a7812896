"""Publishes the events of a listener."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ...errors import EventNotFound, WouldDeadlock
from ...events.envelope import HOLDS, Envelope, check_id, check_size, check_text, key_text, new_id, plain
from ..registration import NamedEvent
from .consumer import Consumer
from .events import CURRENT
from .payload import due_time, encode_payload, finite
from .provider import clock_of
from .terms import options_of

if TYPE_CHECKING:
    from ..listener import Listener
    from ..registration import Route
    from .client import CarrierClient, Pending, Published
    from .face import Publication
    from .provider import CarrierProvider

__all__ = ["Publisher"]

ATTRIBUTE: Final = re.compile(r"[a-z0-9]+")
"""A name of an attribute: as in CloudEvents 1.0, "Naming Convention"."""
RESERVED: Final = "tl"
"""How the names of our own attributes begin."""


class Publisher:
    """Publishes events, and has the consumer of those that come back.

    :param listener: the listener
    :ivar provider: connects it with the carrier
    """

    def __init__(self, listener: Listener[Any], provider: CarrierProvider) -> None:
        self._listener: Final = listener
        self.provider: Final = provider
        self._clock: Final = clock_of(provider)
        self.consumer: Final = Consumer(provider)

    @property
    def _client(self) -> CarrierClient:
        return self.consumer.client

    async def close(self) -> None:
        """Close the link to the carrier, and the carrier if it is in this process."""
        self._client.close()
        if (close := getattr(self.provider, "close", None)) is not None:
            await close()

    def publish(self, *several: Publication, timeout: float) -> list[asyncio.Future[Published]]:
        """Publish events, once all of them are checked; see `Listener.publish`."""
        seconds = _seconds(timeout)
        sealed = [(self._sealed(one), one.id is not None) for one in several]
        return [self._send(envelope, seconds, has_own_id=has_own_id).stored for envelope, has_own_id in sealed]

    async def request(self, one: Publication, timeout: float) -> Any:  # noqa: ASYNC109
        """Publish an event and wait for its result; see `Listener.request`."""
        envelope = self._sealed(one)
        envelope.expires = self._clock() + _seconds(timeout)
        if holds := _held():
            if envelope.key is not None and envelope.serial:
                _refuse_deadlock(envelope.key, holds)
            envelope.attributes = {**envelope.attributes, HOLDS: json.dumps(holds)}
        # A second more: the limit of this request comes first.
        pending = self._send(envelope, timeout + 1, has_own_id=one.id is not None, wants_result=True)
        assert pending.result is not None
        try:
            async with asyncio.timeout(timeout):
                await pending.stored
                return msgspec.json.decode(await pending.result)
        except TimeoutError:
            raise TimeoutError(f"the event {envelope.path!r} was not handled within {timeout:g} s") from None
        finally:
            self._client.forget_request(pending)

    def _sealed(self, one: Publication) -> Envelope:
        """Return an event, checked."""
        route, path, params = self._route_of(one.path)
        check_text("path=", path)
        now = self._clock()
        data, is_json = encode_payload(one.data)
        envelope = Envelope(
            id=new_id() if one.id is None else check_id("id=", one.id),
            path=path,
            route=plain(route.path),
            data=data,
            published_at=now,
            key=None if one.key is None else key_text(one.key),
            serial=options_of(route).get("serial", True),
            is_json=is_json,
            params=params,
            cid=None if one.cid is None else check_id("cid=", one.cid),
            due=due_time(one.delay, one.at, now),
            attributes=_attributes(one.attributes),
        )
        check_size(envelope, self.provider.settings.limits.max_event)
        return envelope

    def _send(self, envelope: Envelope, timeout: float, *, has_own_id: bool, wants_result: bool = False) -> Pending:
        dones = [sender(envelope) for sender in self._listener.hooks.senders]
        if dones:  # they may have added attributes
            check_size(envelope, self.provider.settings.limits.max_event)
        pending = self._client.publish(envelope, timeout, has_own_id=has_own_id, wants_result=wants_result)
        for done in dones:
            pending.stored.add_done_callback(done)
        return pending

    def _route_of(self, path: str | NamedEvent) -> tuple[Route, str, dict[str, str] | None]:
        if not isinstance(path, (str, NamedEvent)):
            raise TypeError(f"path= takes a str, or the name of an event as app.event() makes it, not {path!r}")
        try:
            route, params = self._listener.table.match(path)
        except EventNotFound:
            self._listener.host.observer.not_found()
            raise
        if route.is_http:
            raise EventNotFound(
                f"No handler is registered for the published event {path!r}: {route.where} handles requests"
            )
        if isinstance(path, NamedEvent):
            return route, plain(route.path), {name: _text_of(route, name, value) for name, value in params.items()}
        return route, plain(path), None


def _held() -> tuple[str, ...]:
    """Return the keys that wait for what runs here; none where it is a task that its handler left running."""
    current = CURRENT.get()
    return () if current is None or current.is_done else current.holds


def _refuse_deadlock(key: str, holds: tuple[str, ...]) -> None:
    if key in holds:
        chain = " -> ".join(map(repr, (*holds, key)))
        raise WouldDeadlock(
            f"the key {key!r} is held until this request has its answer ({chain}): publish() does not wait, "
            "and a route with serial=False does not hold its key"
        )


def _text_of(route: Route, name: str, value: Any) -> str:
    """Return a path parameter as text, from which its convertor makes the same value again."""
    text = float.__repr__(value) if isinstance(value, float) else plain(str(value))
    check_text(f"the parameter {name!r}", text)
    try:
        if route.convertors[name].convert(text) == value:
            return text
    except Exception:  # noqa: S110 - a convertor of the application
        pass
    raise TypeError(
        f"the parameter {name!r} of {route.path!r} cannot be published: its convertor does not make {value!r} "
        f"of the text {text[:80]!r}"
    )


def _attributes(given: Mapping[str, str] | None) -> dict[str, str]:
    attributes = dict(given or {})
    for name, value in attributes.items():
        if not isinstance(name, str) or not ATTRIBUTE.fullmatch(name) or name.startswith(RESERVED):
            raise ValueError(
                f"attributes= takes names of lower-case letters and digits that do not begin with {RESERVED!r}, "
                f"not {name!r}"
            )
        if not isinstance(value, str):
            raise TypeError(f"attributes= takes texts, not {name}={value!r}")
        check_text("attributes=", value)
    return {plain(name): plain(value) for name, value in attributes.items()}


def _seconds(timeout: Any) -> float:
    seconds = finite(timeout)
    if seconds is None or seconds <= 0:
        raise ValueError(f"timeout= takes a number of seconds above 0, not {timeout!r}")
    return seconds
