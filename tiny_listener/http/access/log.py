"""Writes the access log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ...process.safe_logging import log_safely
from .entry import Entry
from .formats import line_format

if TYPE_CHECKING:
    from ..request import Request
    from ..settings import HTTPSettings

__all__ = ["AccessLog"]

logger = logging.getLogger("tiny_listener.access")


class AccessLog:
    """Writes a line for each response to the logger `tiny_listener.access`.

    :param text: the format of a line (see `formats`); None: `CLIENT - "REQUEST" STATUS PHRASE BYTES MILLISECONDS`
    :raises WrongOptions: the format is invalid
    """

    def __init__(self, text: str | None = None) -> None:
        self._parts = None if text is None else line_format(text)

    @classmethod
    def of(cls, settings: HTTPSettings) -> AccessLog | None:
        """Return the access log that settings ask for; None: they ask for none.

        :raises WrongOptions: the format is invalid, even if it is not used
        """
        log = cls(settings.access_log_format)
        return log if settings.access_log else None

    def write(self, request: Request, status: int, seconds: float, first: bytes, sent: int = 0) -> None:
        """Write the line of a response; see `Entry`. Never raises."""
        try:
            if not logger.isEnabledFor(logging.INFO):
                return
            entry = Entry(request, status, seconds, first, sent)
            line = _usual(entry) if self._parts is None else "".join([part(entry) for part in self._parts])
            fields = _fields(entry)
        except BaseException as exc:
            log_safely(logger, logging.ERROR, "The access log of %r failed", request, exc_info=exc)
            return
        log_safely(logger, logging.INFO, "%s", line, extra=fields)


def _usual(entry: Entry) -> str:
    return (
        f'{entry.client} - "{entry.request_line}" {entry.status} {entry.phrase} {entry.size}B '
        f"{entry.seconds * 1000:.1f}ms"
    )


def _fields(entry: Entry) -> dict[str, Any]:
    """Return what JSON lines say in fields of their own."""
    request = entry.request
    trace = request.trace
    fields = {
        "client": entry.client,
        "method": request.method,
        "target": request.target,
        "status": entry.status,
        "size": entry.size,
        "duration": round(entry.seconds, 6),
        "user_agent": request.header("user-agent"),
        "referer": request.header("referer"),
        "trace_id": None if trace is None else trace.trace_id,
        "parent_id": None if trace is None else trace.parent_id,
    }
    return {name: value for name, value in fields.items() if value is not None}
