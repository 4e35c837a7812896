"""A chunked body (RFC 9112 section 7.1): bytes in, pieces of the body out. No sockets, no clock."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import ProtocolError
from .head import TOKEN

if TYPE_CHECKING:
    from ...settings import HTTPSettings

__all__ = ["ChunkedBody"]

CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?)*+)\r\n"
    % (TOKEN, TOKEN, rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*+"')
)
"""The size fits 64 bits, extensions are skipped."""
MAX_CHUNK_LINE = 4 * 1024
"""Bytes of a chunk's size and extensions. Extensions are rarely used, and must not be endless."""
MAX_EXTENSIONS = 16 * 1024
"""Bytes of the extensions of all chunks of a body (RFC 9112 section 7.1.1): as much as Go's net/http allows."""
TRAILERS = re.compile(rb"(?:%b:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+" % TOKEN)
"""RFC 9112 section 7.1.2; no folded lines."""


class ChunkedBody:
    """Reads one body: a size, its chunk, and so on; after the last size, 0, the trailers.

    :param settings: the limits of trailers
    """

    __slots__ = ("_extensions", "_in_chunk", "_in_trailers", "_left", "_settings", "is_complete")

    def __init__(self, settings: HTTPSettings) -> None:
        self._settings = settings
        self._in_chunk = self._in_trailers = False
        self._left = 0  # bytes of the chunk that are to come
        self._extensions = 0  # bytes of chunk extensions
        self.is_complete = False
        """Whether the whole body has been read."""

    def read(self, buffer: bytes, start: int, pieces: Callable[[bytes], Any]) -> int:
        """Continue reading at a position of a buffer, and pass each piece of the body on. Return the new position.

        :raises ProtocolError: 400, malformed; 431, the trailers exceed a limit
        """
        if self._in_trailers:
            return self._read_trailers(buffer, start)
        if self._in_chunk:
            return self._read_chunk(buffer, start, pieces)
        match = CHUNK_LINE.match(buffer, start)
        if match is None or match.end() - start > MAX_CHUNK_LINE:
            line_end = buffer.find(b"\n", start)
            if line_end < 0 and len(buffer) - start <= MAX_CHUNK_LINE:
                return start
            raise ProtocolError(400, "malformed chunk size, or a chunk extension that is too long")
        self._extensions += len(match[2])
        if self._extensions > MAX_EXTENSIONS:
            raise ProtocolError(400, f"the chunk extensions of a body are longer than {MAX_EXTENSIONS} bytes")
        self._left = int(match[1], 16)
        if self._left:
            self._in_chunk = True
        else:
            self._in_trailers = True
        return match.end()

    def may_go_on(self, data: bytes, kept: int) -> bool:
        """Whether it is worth parsing again bytes that were incomplete, together with those that followed.

        PERF: what is buffered is a line without its end; parsing it again with each new byte would be quadratic.

        :param kept: number of bytes that were parsed before
        """
        if self._in_chunk:
            return True
        limit = self._settings.max_header + 2 if self._in_trailers else MAX_CHUNK_LINE
        return data.find(b"\n", kept) >= 0 or len(data) > limit

    def _read_chunk(self, buffer: bytes, start: int, pieces: Callable[[bytes], Any]) -> int:
        if self._left:
            piece = buffer[start : start + self._left]
            self._left -= len(piece)
            pieces(piece)
            return start + len(piece)
        if len(buffer) - start < 2:
            if buffer[start : start + 1] not in (b"", b"\r"):
                raise ProtocolError(400, "a chunk is longer than its size says")
            return start
        if not buffer.startswith(b"\r\n", start):
            raise ProtocolError(400, "a chunk is longer than its size says")
        self._in_chunk = False
        return start + 2

    def _read_trailers(self, buffer: bytes, start: int) -> int:
        # Trailers are discarded (RFC 9110 section 6.5.1 allows it), but they are limited and validated: this server
        # must agree with every intermediary about where they end.
        limit = self._settings.max_header
        lines = TRAILERS.match(buffer, start)
        end = start if lines is None else lines.end()
        line_end = buffer.find(b"\n", end) + 1 or len(buffer)
        if end - start > limit or line_end - start > limit + 2:
            raise self._trailers_too_long()
        if buffer.count(b"\n", start, end) > self._settings.max_header_fields:
            raise self._trailers_too_long()
        if buffer.startswith(b"\r\n", end):
            self.is_complete = True
            return end + 2
        if buffer.find(b"\n", end) >= 0:
            raise ProtocolError(400, "malformed trailer fields")
        return start

    def _trailers_too_long(self) -> ProtocolError:
        settings = self._settings
        return ProtocolError(
            431, f"the trailers are longer than {settings.max_header} bytes, or more than {settings.max_header_fields}"
        )
