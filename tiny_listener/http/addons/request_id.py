"""An id for each request: in its response, in a context variable, and in every record that is logged meanwhile."""

from __future__ import annotations

import logging
import re
import secrets
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ..headers import field_of
from ..response import Response

if TYPE_CHECKING:
    from ..request import Request
    from .application import Application

__all__ = ["RequestID", "request_id"]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is handled; None outside of requests, or without the addon `RequestID`."""
_request: ContextVar[Request | None] = ContextVar("request", default=None)
"""The request that the id is of: a server may be opened within a request of another."""
VALID = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}\Z")
"""Ids that are taken from clients: of a length that fits into a log line, without spaces, quotes and controls."""
ATTRIBUTE = "request_id"


class RequestID:
    """Gives each request an id: the client's, if it sent a valid one, else a new one.

    It is in the header of the response, in `tiny_listener.http.request_id`, also in tasks that the handler starts, and
    in the attribute `request_id` of the records that are logged during the request, by any logger.

    :param header: its name, in requests and responses
    :raises ValueError: a header name that HTTP does not allow
    """

    def __init__(self, header: str = "x-request-id") -> None:
        field_of(header, "")
        self._header = header
        self._records: _Records | None = None

    def install(self, app: Application) -> None:
        """See `HTTPListener.use`."""
        app.hooks.add_watcher(self)
        app.on_response(self._respond)
        if self._records is None:
            self._records = _Records()

    def remove_from_logs(self) -> None:
        """Leave log records alone from now on."""
        if self._records is not None:
            self._records.remove()
            self._records = None

    def began(self, event: Any) -> None:
        """See `Watcher`: the first thing of a request, in its context."""
        request = event.data.get("request")
        if request is not None:
            self._give(request)

    def ended(self, event: Any) -> None:
        """See `Watcher`."""

    async def _respond(self, request: Request | None, response: Response) -> None:
        known = request_id.get()
        if known is None or request is None or _request.get() is not request:  # the server made the response
            known = self._give(request)
        response.headers.setdefault(self._header, known)

    def _give(self, request: Request | None) -> str:
        given = None if request is None else request.headers.get(self._header)
        known = given if given is not None and VALID.match(given) else secrets.token_hex(16)
        request_id.set(known)
        _request.set(request)
        return known


class _Fields(dict[str, Any]):
    """The attributes of a log record. `extra={"request_id": ...}` of an application replaces ours, where `logging`
    would raise an error for it.
    """

    def __contains__(self, key: object) -> bool:
        return key != ATTRIBUTE and super().__contains__(key)


class _Records:
    """A factory of log records in front of the one that there was (`logging.setLogRecordFactory`)."""

    def __init__(self) -> None:
        self._others = logging.getLogRecordFactory()
        self._adds = True
        logging.setLogRecordFactory(self)

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._others(*args, **kwargs)
        if self._adds and (known := request_id.get()) is not None:
            record.__dict__ = _Fields(vars(record), request_id=known)
        return record

    def remove(self) -> None:
        """Make records as before; if another factory stands in front, this one stays and adds nothing."""
        self._adds = False
        if logging.getLogRecordFactory() is self:
            logging.setLogRecordFactory(self._others)
