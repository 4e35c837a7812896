"""A CloudEvent as an argument: that of a request, in binary or structured mode, or that of a published event."""

from __future__ import annotations

import sys
from typing import Any

from ...core.injection.conversion import is_optional
from ...core.injection.markers import Argument
from ...core.injection.planner import classes_of
from ...core.injection.resolvers import Phase, Resolver
from ..errors import HTTPError
from ..request import Request

__all__ = ["plan_cloudevent"]


class CloudEventResolver(Resolver):
    """The CloudEvent that a request or an event holds.

    :param is_optional: whether it is None for an event that did not come as one
    """

    __slots__ = ("_is_optional",)
    phase = Phase.BODY
    waits = True

    def __init__(self, *, is_optional: bool) -> None:
        self._is_optional = is_optional

    async def __call__(self, event: Any) -> Any:
        """See `Resolver`.

        :raises HTTPError: 400, the CloudEvent of the request is malformed; 415, the request holds none
        :raises EventDataError: the event did not come as one
        :raises BodyTooLargeError: the body is longer than the route allows
        """
        from ...cloudevents import CloudEvent, InvalidCloudEvent, UnknownFormat, from_http  # noqa: PLC0415

        request = event.data.get("request")
        if not isinstance(request, Request):
            return None if self._is_optional and "specversion" not in event.attributes else CloudEvent.from_event(event)
        try:
            return from_http(request.fields, await request.body())
        except UnknownFormat as exc:
            raise HTTPError(415, str(exc), {"accept": "application/cloudevents+json"}) from None
        except InvalidCloudEvent as exc:
            raise HTTPError(400, str(exc)) from None


def plan_cloudevent(argument: Argument) -> Resolver | None:
    """Return the resolver of an argument annotated with `CloudEvent`; None for others. Who has not imported the class
    has no such annotation.
    """
    module = sys.modules.get("tiny_listener.cloudevents.event")
    if module is None or module.CloudEvent not in classes_of(argument.kind):
        return None
    return CloudEventResolver(is_optional=is_optional(argument.kind))
