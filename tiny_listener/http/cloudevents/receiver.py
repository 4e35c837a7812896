"""An endpoint for CloudEvents: each one that is received is published, or handled before the answer."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ...cloudevents import CloudEvent, InvalidCloudEvent, UnknownFormat, iter_http, mode_of
from ...core.publishing import Publication
from ...errors import EventDataError, EventNotFound, EventsOverloaded, EventTooLarge, NotStored, PathParamsError
from ...events.envelope import key_text
from ...events.policy import Reject, RetryLater
from ..errors import HTTPError
from ..request import Request
from ..response import Response, as_response
from ..routing import is_http
from .received import ReceivedEvent
from .template import Template

if TYPE_CHECKING:
    from ...core.aliases import PathParams
    from ...core.listener import Listener
    from ...core.registration import Route
    from .handshake import Handshake
    from .tokens import Tokens

__all__ = ["Receiver"]

KNOWN: Final = "application/cloudevents+json, application/cloudevents-batch+json"
RETRY_AFTER: Final = 5
"""Seconds after which a sender that was refused for overload may try again."""
RESERVED: Final = "tl"
"""How the carrier's own attributes begin: no sender may set one."""
SLICE: Final = 50
"""Events of a batch that are parsed in one piece; then others have the loop."""


def now() -> dt.datetime:
    """Return the time, with its zone."""
    return dt.datetime.now(dt.UTC)


class Matched(NamedTuple):
    """An event, and where it goes.

    :ivar path: the text of the published event
    """

    event: CloudEvent
    path: str
    key: str | None
    route: Route
    params: PathParams


class Receiver:
    """Handles the requests of an endpoint; its arguments are those of `HTTPListener.listen_cloudevents`.

    :param app: publishes the events, or handles them
    """

    def __init__(
        self,
        app: Listener[Any],
        *,
        path: Template,
        key: Template | None,
        wait: bool,
        timeout: float,
        max_batch: int,
        tokens: Tokens,
        handshake: Handshake | None,
        clock: Callable[[], dt.datetime] = now,
    ) -> None:
        self._app: Final = app
        self._path: Final = path
        self._key: Final = key
        self._wait: Final = wait
        self._timeout: Final = timeout
        self._max_batch: Final = max_batch
        self._tokens: Final = tokens
        self._handshake: Final = handshake
        self._clock: Final = clock

    async def receive(self, request: Request) -> Response:
        """Take the events of a request in, and answer it.

        :raises HTTPError: 400, 401, 403, 404, 413, 415, 429, 503; see docs/use/cloudevents.md
        """
        is_private = self._tokens.check(request)
        if self._handshake is not None:
            self._handshake.check(request.headers)
        if (coding := request.headers.get("content-encoding", "identity")).lower() != "identity":
            raise HTTPError(
                415, f"the content coding {coding[:40]!r} is not known here", {"accept-encoding": "identity"}
            )
        events = await self._read(request)
        if self._wait:
            response = await self._handle(events, is_batch=_is_batch(request))
        else:
            await self._publish(events)
            response = Response(status=202)
        if is_private and response.status < 300:
            response.headers["cache-control"] = "private"  # RFC 6750 section 2.3
        return response

    # --- what the request holds ---------------------------------------------------------------------

    async def _read(self, request: Request) -> list[Matched]:
        """Return what is to be done with the events of a request: those that are still useful.

        :raises HTTPError: 400, one is malformed, or an attribute is missing or reserved; 404, one has no route; 413,
            there are too many; 415, the format is not known
        """
        body = await request.body()
        fields = [(name, value) for name, value in request.fields if name == b"content-type" or name[:3] == b"ce-"]
        is_batch, moment = _is_batch(request), self._clock()
        found: list[Matched] = []
        try:
            for number, event in enumerate(iter_http(fields, body), 1):
                if number > self._max_batch:
                    raise HTTPError(413, f"a batch has at most {self._max_batch} events here")
                one = self._match(event, f"event {number} of the batch: " if is_batch else "")
                if event.expires is None or event.expires > moment:
                    found.append(one)
                if number % SLICE == 0:
                    await asyncio.sleep(0)
        except UnknownFormat as exc:
            raise HTTPError(415, str(exc), {"accept": KNOWN}) from None
        except InvalidCloudEvent as exc:
            raise HTTPError(400, str(exc)) from None
        return found

    def _match(self, event: CloudEvent, where: str) -> Matched:
        """Find the route of an event.

        :param where: it is, for messages
        :raises HTTPError: 400, an attribute is missing, or one is there that no sender may set; 404, there is no route
        """
        try:
            attributes = event.attributes
            if reserved := [name for name in event.extensions if name.startswith(RESERVED)]:
                raise InvalidCloudEvent(f"extensions that begin with {RESERVED!r} are reserved here: {reserved[0]}")
            path = self._path.fill(attributes)
            key = None if self._wait else self._key_of(event, attributes)
            route, params = self._app.match_route(path)
            if is_http(route):  # a type such as "GET:/" would be one
                raise EventNotFound(path)
        except InvalidCloudEvent as exc:
            raise HTTPError(400, f"{where}{exc}") from None
        except EventNotFound:
            self._app.host.observer.not_found()
            raise HTTPError(404, f"{where}nothing here handles events of the type {event.type[:80]!r}") from None
        return Matched(event, path, key, route, params)

    def _key_of(self, event: CloudEvent, attributes: dict[str, str]) -> str | None:
        key = event.partitionkey if self._key is None else self._key.fill(attributes)
        if key is None:
            return None
        try:
            return key_text(key)
        except ValueError:
            raise InvalidCloudEvent("the key of the event must have 1 to 256 bytes of UTF-8") from None

    # --- stored, and handled later ------------------------------------------------------------------

    async def _publish(self, events: list[Matched]) -> None:
        """Store the events.

        :raises HTTPError: 400, the data of one cannot be stored; 413, one is too large; 429, too many events wait; 503,
            they are not known to be stored
        """
        several = [
            Publication(path, event.data, key, id=event.dedup_id, attributes=event.attributes)
            for event, path, key, *_ in events
        ]
        try:
            await self._app.publish_many(several, timeout=self._timeout)
        except EventTooLarge as exc:
            raise HTTPError(413, str(exc)) from None
        except ValueError:  # nested so deeply that it can be read just so, and not be written
            raise HTTPError(400, "the data of an event has a part that cannot be stored") from None
        except NotStored as exc:
            raise _refusal([exc]) from None
        except ExceptionGroup as group:
            if all(isinstance(exc, NotStored) for exc in group.exceptions):
                raise _refusal(group.exceptions) from None
            raise

    # --- handled at once ----------------------------------------------------------------------------

    async def _handle(self, events: list[Matched], *, is_batch: bool) -> Response:
        """Run the handlers, one event after the other, and return the response.

        :raises HTTPError: a handler raised it, or refused the event, or has taken too long
        """
        result: Any = None
        for one in events:
            result = await self._run(ReceivedEvent(one.route, one.params, self._app, one.event))
        return Response(status=204) if is_batch else as_response(result)

    async def _run(self, event: ReceivedEvent) -> Any:
        try:
            return await self._app.run_event(event)
        except RetryLater as exc:
            seconds = max(1, int(exc.seconds + 0.999))
            raise HTTPError(503, "try again later", {"retry-after": str(seconds)}) from None
        except Reject as exc:
            raise HTTPError(422, str(exc)[:200].splitlines()[0] if str(exc) else "") from None
        except (EventDataError, PathParamsError) as exc:
            raise HTTPError(422, "the data of the event is not what its handler takes") from exc
        except TimeoutError:
            if event.outcome == "timeout":
                raise HTTPError(504) from None
            raise


def _is_batch(request: Request) -> bool:
    return mode_of(request.headers.get("content-type", "")) == "batched"


def _refusal(errors: Any) -> HTTPError:
    """Return the response for events that could not be stored: 429 if there are too many, and nothing else is wrong."""
    is_overload = all(isinstance(error, EventsOverloaded) for error in errors)
    detail = "too many events are waiting" if is_overload else "the events are not known to be stored: send them again"
    return HTTPError(429 if is_overload else 503, detail, {"retry-after": str(RETRY_AFTER)})
