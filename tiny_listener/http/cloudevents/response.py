"""CloudEvents as responses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Literal

from ...cloudevents import CloudEvent, HTTPMessage, to_http, to_http_batch
from ...cloudevents.json_format import JSON, JSON_BATCH
from ..addons.varying import add_vary
from ..errors import HTTPError
from ..response import DeferredResponse, FieldsLike, Response

if TYPE_CHECKING:
    from ..request import Request

__all__ = ["CloudEventResponse"]

QUALITY: Final = re.compile(r";[ \t]*q=0(?:\.0*)?[ \t]*(?:;|\Z)", re.IGNORECASE)


class CloudEventResponse(DeferredResponse):
    """A response that is a CloudEvent. A handler that returns a `CloudEvent` makes one with the defaults.

    :param event: the event, or several for a batch: that is sent only to a client whose Accept names
        `application/cloudevents-batch+json`, which others get a 406 for
    :param status: 200 to 299
    :param mode: "binary" (the data is the body) or "structured" (all of it is JSON); None: structured if the client's
        Accept names `application/cloudevents+json`, else binary
    :param headers: further header fields
    :raises TypeError: it is no CloudEvent
    :raises ValueError: another status or mode, or a header that HTTP does not allow
    """

    __slots__ = ("_events", "_mode")

    def __init__(
        self,
        event: CloudEvent | Sequence[CloudEvent],
        status: int = 200,
        *,
        mode: Literal["binary", "structured"] | None = None,
        headers: FieldsLike = (),
    ) -> None:
        if not 200 <= status <= 299:
            raise ValueError(f"the status of a CloudEvent must be from 200 to 299, not {status!r}")
        several = [event] if isinstance(event, CloudEvent) else list(event)
        if not all(isinstance(one, CloudEvent) for one in several):
            raise TypeError("CloudEventResponse takes a CloudEvent, or several of them")
        if mode not in {None, "binary", "structured"}:
            raise ValueError(f"mode= takes 'binary', 'structured' or None, not {mode!r}")
        super().__init__(b"", status, headers)
        self._events: Final = event if isinstance(event, CloudEvent) else several
        self._mode: Final = mode

    async def prepare(self, request: Request) -> Response:
        """See `DeferredResponse`.

        :raises HTTPError: 406, the client did not ask for a batch
        :raises InvalidCloudEvent: the data of an event cannot be encoded
        """
        accepted = request.headers.getlist("accept")
        negotiates = self._mode is None
        if not isinstance(self._events, CloudEvent):
            if not _names(accepted, JSON_BATCH):  # HTTP binding, section 3: only when solicited
                raise HTTPError(406, f"this is a batch of CloudEvents: ask for it by Accept: {JSON_BATCH}")
            message, negotiates = to_http_batch(self._events), True
        elif self._mode == "structured" or (negotiates and _names(accepted, JSON)):
            message = to_http(self._events, "structured")
        else:
            message = to_http(self._events)
        return self._made(message, negotiates=negotiates)

    def _made(self, message: HTTPMessage, *, negotiates: bool) -> Response:
        response = Response(message.body, self.status)
        response.fields = [field for field in self.fields if field[0].lower() != b"content-type"]
        for name, value in message.headers:
            response.headers[name] = value
        if negotiates:
            add_vary(response.headers, "Accept")
        return response


def _names(accepted: Iterable[str], media_type: str) -> bool:
    """Whether Accept names a media type itself (RFC 9110 section 12.5.1): a range such as */* does not ask for it."""
    for value in accepted:
        for element in value.lower().split(","):
            kind, semicolon, rest = element.partition(";")
            if kind.strip(" \t") == media_type and QUALITY.search(semicolon + rest) is None:
                return True
    return False
