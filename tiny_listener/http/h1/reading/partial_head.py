"""A head whose end has not come yet: each of its bytes is looked at once, in whatever pieces they come. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ProtocolError
from .head import header_too_long, headers_too_long, line_too_long, read_line, too_many_fields

if TYPE_CHECKING:
    from ...settings import HTTPSettings

__all__ = ["PartialHead"]


class PartialHead:
    """The bytes of a head up to now; it is refused as soon as nothing that may still come makes it good.

    :param start: its first bytes; there are some
    :param settings: the limits
    :raises ProtocolError: see `add`
    """

    __slots__ = ("_data", "_line", "_line_size", "_lines", "_settings")

    def __init__(self, start: bytes, settings: HTTPSettings) -> None:
        self._data = bytearray()
        self._settings = settings
        self._line_size = 0  # bytes of the request line and its end; 0: it has not come
        self._line = 0  # where the last line begins
        self._lines = 0  # how many lines have ended
        self.add(start)

    @property
    def is_empty(self) -> bool:
        """Whether all that came were empty lines before a request."""
        return not self._data

    @property
    def start(self) -> bytes:
        """The first bytes: enough to tell the method."""
        return bytes(self._data[:64])

    def add(self, piece: bytes) -> bytes | None:
        """Take in what followed.

        :returns: all bytes since the head's first, when the head is complete; there may be more behind it
        :raises ProtocolError: 400, 414, 431, 501, 505
        """
        data = self._data
        old = max(0, len(data) - 3)  # the end of a head may be cut
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
        """Hold the limits.

        :param new: where what was not looked at begins
        """
        settings = self._settings
        before = max(0, new - 1)  # a line's end may be cut
        if not self._line_size:
            line_end = data.find(b"\r\n", before)
            if line_end >= 0:
                self._line_size = line_end + 2
                read_line(bytes(data[: self._line_size]), settings)
            elif len(data) > settings.max_request_line:
                raise line_too_long(settings)
        ended = data.count(b"\r\n", before)
        if data.count(b"\n", new) != ended:
            # RFC 9112 section 2.2 allows it as the end of a line, and no empty line will ever follow.
            raise ProtocolError(400, "lines end with CR LF")
        if not self._line_size:
            return
        self._lines += ended
        if self._lines - 1 > settings.max_header_fields:
            raise too_many_fields(settings)
        if ended:
            self._line = data.rfind(b"\r\n") + 2
        # What has come of the line that is coming, and the CRLF that will; nothing of the empty line at the end.
        coming = len(data) - self._line - data.endswith(b"\r")
        coming = coming + 2 if coming else 0
        if self._line - self._line_size + coming > settings.max_headers:
            raise headers_too_long(settings)
        if coming > settings.max_header:
            raise header_too_long(settings)
