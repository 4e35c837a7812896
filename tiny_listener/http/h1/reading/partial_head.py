"""An incomplete head: each of its bytes is examined once, in whatever pieces they arrive. Pure: no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ProtocolError
from .head import header_too_long, headers_too_long, line_too_long, read_line, too_many_fields

if TYPE_CHECKING:
    from ...settings import HTTPSettings

__all__ = ["PartialHead"]


class PartialHead:
    """The bytes of a head so far. It is rejected as soon as nothing that follows could make it valid.

    :param start: its first bytes, at least one
    :param settings: the limits
    :raises ProtocolError: see `add`
    """

    __slots__ = ("_data", "_line", "_line_size", "_lines", "_settings")

    def __init__(self, start: bytes, settings: HTTPSettings) -> None:
        self._data = bytearray()
        self._settings = settings
        self._line_size = 0  # bytes of the request line and its end; 0: incomplete
        self._line = 0  # where the last line begins
        self._lines = 0  # how many lines have ended
        self.add(start)

    @property
    def is_empty(self) -> bool:
        """Whether only empty lines before a request have arrived."""
        return not self._data

    @property
    def start(self) -> bytes:
        """The first bytes: enough to tell the method."""
        return bytes(self._data[:64])

    def add(self, piece: bytes) -> bytes | None:
        """Add what followed.

        :returns: all bytes from the first byte of the head, once the head is complete; there may be more after it
        :raises ProtocolError: 400, 414, 431, 501, 505
        """
        data = self._data
        old = max(0, len(data) - 3)  # the end of a head may be split
        data += piece
        if not self._line_size:
            while data.startswith(b"\r\n"):  # RFC 9112 section 2.2: empty lines before a request are skipped
                del data[:2]
                old = 0
        if data.find(b"\r\n\r\n", old) >= 0:
            return bytes(data)
        self._check(data, len(data) if not piece else max(0, len(data) - len(piece)))
        return None

    def _check(self, data: bytearray, new: int) -> None:
        """Enforce the limits.

        :param new: position of the first byte that was not examined yet
        """
        settings = self._settings
        before = max(0, new - 1)  # the end of a line may be split
        if not self._line_size:
            line_end = data.find(b"\r\n", before)
            if line_end >= 0:
                self._line_size = line_end + 2
                read_line(bytes(data[: self._line_size]), settings)
            elif len(data) > settings.max_request_line:
                raise line_too_long(settings)
        ended = data.count(b"\r\n", before)
        if data.count(b"\n", new) != ended:
            # RFC 9112 section 2.2 allows a bare LF as line end, but then the empty line would never be found.
            raise ProtocolError(400, "lines must end with CR LF")
        if not self._line_size:
            return
        self._lines += ended
        if self._lines - 1 > settings.max_header_fields:
            raise too_many_fields(settings)
        if ended:
            self._line = data.rfind(b"\r\n") + 2
        # The incomplete line so far, plus its CRLF to come; not counting the empty line at the end.
        coming = len(data) - self._line - data.endswith(b"\r")
        coming = coming + 2 if coming else 0
        if self._line - self._line_size + coming > settings.max_headers:
            raise headers_too_long(settings)
        if coming > settings.max_header:
            raise header_too_long(settings)
