"""The response that a handler's value or its error makes."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ....core.dispatch import log_failure
from ....errors import EventsOverloaded
from ....process.safe_logging import log_safely
from ...errors import ClientDisconnectedError, HTTPError, ProtocolError
from ...response import DeferredResponse, Response, as_response
from ...routing import Refusal

if TYPE_CHECKING:
    from contextvars import Context

    from ....core.event import Event
    from ...request import Request

__all__ = ["INTERNAL_ERROR", "prepare", "response_to_error", "response_to_value"]

logger = logging.getLogger("tiny_listener")
INTERNAL_ERROR = Refusal(500, HTTPStatus(500).phrase)


def response_to_value(event: Event[Any], value: Any) -> Response:
    """Return the response for a value.

    :raises BaseException: it cannot be made
    """
    if value is None and event.error is not None:  # the error handler returned nothing
        raised = event.error
        return raised.response() if isinstance(raised, HTTPError) else INTERNAL_ERROR.response()
    return as_response(value)


def response_to_error(event: Event[Any], error: BaseException, context: Context | None) -> Response | None:
    """Return the response for an error; None if it is a failure to report, and the response is a 500.

    :param context: the context (contextvars) of the handler, in which an error of the application makes its response
    :raises BaseException: raised by the error's `response`
    """
    if isinstance(error, ProtocolError):
        return Refusal(error.status, error.detail).response()
    if isinstance(error, ClientDisconnectedError):
        return Refusal(400, str(error)).response()  # the client may have closed only its sending side
    if event.outcome == "timeout":
        message = "Event %r exceeded its timeout of %g s in %s"
        log_safely(logger, logging.WARNING, message, event.route.path, event.route.timeout, event.route.where)
        return Refusal(504, HTTPStatus(504).phrase).response()
    if isinstance(error, EventsOverloaded):
        log_safely(logger, logging.WARNING, "Event %r published in vain: %s", event.route.path, error)
        return Refusal(503, HTTPStatus(503).phrase).response()  # with Retry-After
    if not isinstance(error, HTTPError):
        return None
    make = error.response
    response = make() if context is None else context.run(make)
    if not isinstance(response, Response):
        raise TypeError(f"response() of an error returned {type(response).__name__}, not a Response")
    if error.status >= 500:
        log_failure(event, error)
    return response


async def prepare(response: DeferredResponse, request: Request) -> Response:
    """Return the response that is made when its request is known.

    :raises TypeError: it needs to be prepared itself
    :raises BaseException: raised by its `prepare`
    """
    ready = await response.prepare(request)
    if isinstance(ready, DeferredResponse):
        raise TypeError(f"prepare() returned {type(ready).__name__}, which needs a prepare() itself")
    return ready
