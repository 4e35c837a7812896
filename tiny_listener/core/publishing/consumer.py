"""Takes delivered events: each runs through hooks and handler, and then the carrier is told what became of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from ...errors import EventDataError, EventNotFound, EventTooLarge
from ...events.envelope import HOLDS, check_result
from ...events.messages import Deliver, Done, Failed, Unroutable
from ...events.policy import Again, GivenUp, Retry, decide
from ...process.safe_logging import log_safely
from ...router import parse_pattern
from ..dispatch import log_failure
from ..source import Source
from .client import CarrierClient
from .contexts import PublishedContexts
from .events import CURRENT, PublishedEvent
from .payload import decode_payload, encode_payload, items_of
from .provider import clock_of, draw_of
from .terms import options_of, terms_of

if TYPE_CHECKING:
    from ...events.envelope import Envelope
    from ..aliases import AnyEvent, PathParams
    from ..listener import Listener
    from ..registration import Route
    from .provider import CarrierProvider

__all__ = ["Consumer"]

logger = logging.getLogger("tiny_listener")

MAX_ERROR: Final = 4096
"""Characters of an error's text that a dead letter keeps."""


class Consumer(Source):
    """The source of published events.

    :param provider: connects it with the carrier
    """

    name = "published events"

    def __init__(self, provider: CarrierProvider) -> None:
        self._provider: Final = provider
        self._draw: Final = draw_of(provider)
        self._running = 0

    async def open(self, listener: Listener[Any]) -> None:
        """See `Source`. The carrier is started if a route has options of published events.

        :raises CarrierError: the carrier cannot be started
        """
        self._listener = listener
        self._running = 0
        self._contexts = PublishedContexts(listener, clock_of(self._provider))
        self.client = CarrierClient(
            self._provider, listener.slot, lambda: terms_of(listener.router), self._take, self._stop
        )
        terms = terms_of(listener.router)
        if terms is not None:
            self.client.connect(starts=any(options_of(route) for route in listener.router))

    @property
    def in_flight(self) -> int:
        """See `Source`: those whose handler has ended, and which it keeps open; the event pool counts the others."""
        return max(0, len(self.client.in_flight) - self._running)

    def drain(self) -> None:
        """See `Source`."""
        self.client.drain()

    async def wait_drained(self) -> None:
        """See `Source`."""
        await self.client.wait_idle()

    def abort(self) -> list[str]:
        """See `Source`. The carrier delivers them again, and no attempt is counted."""
        left = list(self.client.in_flight.values())
        self.client.give_back(left)
        return [f"published event {deliver.envelope.path!r}" for deliver in left]

    # --- one event --------------------------------------------------------------------------------

    def _take(self, deliver: Deliver) -> None:
        try:
            self._run(deliver)
        except EventNotFound:
            self.client.settle(deliver, Unroutable(deliver.seq))
        except BaseException as exc:  # of a convertor or a context of the application: it is not for other events
            self._failed(deliver, exc, None, "error")

    def _stop(self, deliver: Deliver) -> None:
        """Another server has this event by now."""
        words = "Published event %r is at another server: it is stopped"
        log_safely(logger, logging.WARNING, words, deliver.envelope.path)
        self._listener.event_pool.cancel(lambda event: getattr(event, "delivery", None) is deliver)

    def _run(self, deliver: Deliver) -> None:
        """Run an event.

        :raises EventNotFound: no route of this worker matches it
        :raises EventDataError: its data cannot be decoded
        """
        listener, envelope = self._listener, deliver.envelope
        route, params = self._match(envelope)
        payload = decode_payload(envelope.data, is_json=envelope.is_json)
        ctx = None if envelope.cid is None else self._contexts.of(envelope.cid)
        own = () if envelope.key is None or not envelope.serial else (envelope.key,)
        event = PublishedEvent(
            ctx,
            route,
            items_of(payload),
            params,
            listener,
            delivery=deliver,
            payload=payload,
            is_last=lambda error: not isinstance(self._verdict(deliver, error, route), Again),
            settle=self._settle,
            holds=(*json.loads(envelope.attributes.get(HOLDS, "[]")), *own),
        )
        if ctx is not None:
            ctx.adopt(event)
        self._running += 1
        listener.event_pool.dispatch(event, None, self._ended, _as_current)

    def _match(self, envelope: Envelope) -> tuple[Route, PathParams]:
        if envelope.params is None:
            return self._listener.match_route(envelope.path)
        route = self._listener.router.get(parse_pattern(envelope.path))
        if route is None or route.convertors.keys() != envelope.params.keys():
            raise EventNotFound(f"No route has the pattern {envelope.path!r}")
        return route, {name: route.convertors[name].convert(text) for name, text in envelope.params.items()}

    def _verdict(self, deliver: Deliver, error: BaseException, route: Route | None) -> Any:
        options = {} if route is None else options_of(route)
        retry: Retry | None = options.get("retry")
        verdict = decide(error, deliver.attempt, retry, self._draw)
        if options.get("ack") == "before" and isinstance(verdict, Again):
            return GivenUp("attempts")  # at most once
        return verdict

    def _ended(self, event: AnyEvent) -> None:
        """Hooks and handler have ended. An event that its handler keeps open is settled by its `done()`."""
        self._running -= 1
        if event.error is not None and not event.is_done:
            event.done()

    def _settle(self, event: PublishedEvent) -> None:
        """An event is done."""
        deliver, error = event.delivery, event.error
        if not self.client.holds(deliver):
            return  # it was given back, or its carrier has lost it
        if error is None:
            self._succeeded(event)
        elif isinstance(error, asyncio.CancelledError) and self._listener.is_draining:
            self.client.give_back([deliver])
        else:
            self._failed(deliver, error, event.route, event.outcome, event)

    def _succeeded(self, event: PublishedEvent) -> None:
        deliver = event.delivery
        if not deliver.wants_result:
            self.client.settle(deliver, Done(deliver.seq))
            return
        try:
            data, is_json = encode_payload(event.result, "the result")
            if not is_json:
                raise TypeError("a request is answered in JSON, which bytes are not")
            check_result(data, event.route.path, self._provider.settings.limits.max_event)
        except Exception as exc:  # of the application's code too, such as model_dump()
            event.fail(exc, "error")
            # A handler whose result is too large has done its work, and would return the same again.
            route = None if isinstance(exc, EventTooLarge) else event.route
            self._failed(deliver, exc, route, "error", event)
        else:
            self.client.settle(deliver, Done(deliver.seq, data))

    def _failed(
        self,
        deliver: Deliver,
        error: BaseException,
        route: Route | None,
        outcome: str,
        event: PublishedEvent | None = None,
    ) -> None:
        verdict = self._verdict(deliver, error, route)
        kind, text = type(error).__name__, _text_of(error)
        where = route.path if route is not None else deliver.envelope.route
        if isinstance(verdict, Again):
            if event is not None:
                event.disown()
            words = "Published event %r failed at attempt %d; next attempt in %.2f s: %s: %s"
            log_safely(logger, logging.WARNING, words, where, deliver.attempt, verdict.wait, kind, text)
            retry = options_of(route).get("retry") if route is not None else None
            passing = retry is not None and not retry.blocking
            message = Failed(deliver.seq, outcome, kind, text, verdict.wait, "attempts", passing)
        else:
            message = Failed(deliver.seq, outcome, kind, text, None, verdict.reason)
            words = "Published event %r (id %s) is a dead letter after attempt %d (%s): %s: %s"
            log_safely(
                logger, logging.ERROR, words, where, deliver.envelope.id, deliver.attempt, verdict.reason, kind, text
            )
            if event is not None and not isinstance(error, EventDataError):
                log_failure(event, error)
        self.client.settle(deliver, message)


async def _as_current(event: AnyEvent, running: Coroutine[Any, Any, Any]) -> Any:
    token = CURRENT.set(event)
    try:
        return await running
    finally:
        CURRENT.reset(token)


def _text_of(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as exc:
        text = f"(its text cannot be had: {type(exc).__name__})"
    return text.encode("utf-8", "backslashreplace").decode()[:MAX_ERROR]
