"""Where one request ends and the next begins: bytes in, heads and pieces of bodies out. No sockets, no clock.

The life of the reader (RFC 9112 sections 2, 6 and 7):

    HEAD ──head──> LENGTH ──all its bytes──> HEAD         Content-Length
      │ └──head──> CHUNKED ──last chunk────> HEAD         Transfer-Encoding: chunked
      └────head────────────────────────────> HEAD         no body
    any ──the last request ends──> ENDED                  the client wants no further one; nothing more is read
    any ──violation──────────────> ENDED

llhttp reads the fields of a head; where the head ends, and all that follows it, is decided here, so that no
second request is ever read before the first is framed.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

import httptools

from .errors import ProtocolError

if TYPE_CHECKING:
    from .settings import HTTPSettings

__all__ = ["END", "End", "Head", "ReadEvent", "RequestReader"]

REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([^ \t\r\n\0]+) HTTP/([0-9])\.([0-9])\r\n")
"""RFC 9112 section 3; no registered method is longer than 17 characters (UPDATEREDIRECTREF)."""
CONTENT_LENGTH = re.compile(rb"[0-9]{1,19}\Z")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?\r\n")
"""RFC 9112 section 7.1; the size fits 64 bits, extensions are read over."""
MAX_CHUNK_LINE = 4 * 1024
"""Bytes of a chunk's size and extensions: nobody uses extensions, and they may not be endless."""
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]*)(?::[0-9]{0,5})?\Z")
"""RFC 3986 section 3.2.2, RFC 9110 section 7.2."""


class State(Enum):
    """What the reader reads next."""

    HEAD = "head"
    LENGTH = "length"
    CHUNKED = "chunked"
    ENDED = "ended"


class End(Enum):
    """Marks the end of a request's body."""

    END = "end"


END: Final = End.END


class Head:
    """The head of a request.

    :ivar method: as sent
    :ivar target: the request target as sent, bytes
    :ivar version: minor version, 0 or 1
    :ivar headers: names in lower case and values, bytes, in their order
    :ivar keep_alive: whether the client wants the connection to go on
    :ivar length: of the body in bytes; 0 without one; None when it comes in chunks
    :ivar expects_continue: whether the client waits for `100 Continue`
    """

    __slots__ = ("expects_continue", "headers", "keep_alive", "length", "method", "target", "version")

    def __init__(self, method: str, target: bytes, version: int) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers: list[tuple[bytes, bytes]] = []
        self.keep_alive = version == 1
        self.length: int | None = 0
        self.expects_continue = False


ReadEvent: TypeAlias = "Head | bytes | End | ProtocolError"


class RequestReader:
    """Reads the requests of one connection.

    :param settings: the limits
    """

    def __init__(self, settings: HTTPSettings) -> None:
        self._settings = settings
        self._state: State = State.HEAD
        self._buffer = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._parser = httptools.HttpRequestParser(self)
        self._is_last = False  # the client said that no request follows
        self._left = 0  # bytes of the body, or of the chunk, that are to come
        self._in_chunk = False
        self._trailers = False

    @property
    def is_idle(self) -> bool:
        """Whether no byte of a request has been read yet since the last one ended."""
        return self._state is State.HEAD and not self._buffer

    @property
    def in_head(self) -> bool:
        """Whether a part of a head has been read."""
        return self._state is State.HEAD and bool(self._buffer)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is read: after a violation, or after the last request."""
        return self._state is State.ENDED

    @property
    def in_body(self) -> bool:
        """Whether a body is being read."""
        return self._state in (State.LENGTH, State.CHUNKED)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers.append((name.lower(), value))

    def receive(self, data: bytes) -> list[ReadEvent]:
        """Read on with these bytes.

        :returns: what they completed, in order: a `Head`; pieces of its body; END after a body (a request
            without one is its head alone); a `ProtocolError`, after which nothing comes any more
        """
        events: list[ReadEvent] = []
        ended = State.ENDED
        if self._state is ended:
            return events
        buffer = self._buffer + data if self._buffer else data
        position = 0
        try:
            while position < len(buffer):
                before = position
                if self._state is State.HEAD:
                    position = self._read_head(buffer, position, events)
                elif self._state is State.LENGTH:
                    position = self._read_length(buffer, position, events)
                else:
                    position = self._read_chunked(buffer, position, events)
                if position == before or self._state is ended:
                    break
        except ProtocolError as error:
            self._state = State.ENDED
            self._buffer = b""
            events.append(error)
            return events
        # PERF: most often nothing is left, and nothing need be cut off
        self._buffer = b"" if position == len(buffer) else buffer[position:]
        return events

    # --- the head -------------------------------------------------------------------------------

    def _read_head(self, buffer: bytes, start: int, events: list[ReadEvent]) -> int:
        if buffer.startswith(b"\r\n", start):  # RFC 9112 section 2.2: ignore an empty line before a request
            start += 2
        end = buffer.find(b"\r\n\r\n", start) + 4
        if end == 3:
            self._check_unfinished(buffer, start)
            return start
        match = REQUEST_LINE.match(buffer, start, end)
        if match is None:
            raise self._bad_request_line(buffer, start, end)
        method, target, major, minor = match.groups()
        if match.end() - start > self._settings.max_request_line:
            raise self._line_too_long()
        if major != b"1" or minor not in b"01":
            raise ProtocolError(505, "this server speaks HTTP/1.1 and HTTP/1.0")
        if end - match.end() > self._settings.max_headers:
            raise self._headers_too_long()
        head = Head(method.decode("ascii"), target, int(minor))
        self._headers = head.headers
        try:
            self._parser.feed_data(buffer[start:end] if start or end < len(buffer) else buffer)
        except httptools.HttpParserUpgrade:
            self._parser = httptools.HttpRequestParser(self)
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as exc:
            raise ProtocolError(400, f"malformed header fields ({type(exc).__name__})") from None
        self._look_at(head)
        if len(head.headers) > self._settings.max_header_fields:
            raise ProtocolError(431, f"more than {self._settings.max_header_fields} header fields")
        events.append(head)
        self._is_last = not head.keep_alive
        if head.length == 0:
            self._state = State.ENDED if self._is_last else State.HEAD
            return end
        # The parser waits for a body that is read here: the next head gets a new one.
        self._parser = httptools.HttpRequestParser(self)
        self._state = State.CHUNKED if head.length is None else State.LENGTH
        self._left = head.length or 0
        self._in_chunk = self._trailers = False
        return end

    def _check_unfinished(self, buffer: bytes, start: int) -> None:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            if len(buffer) - start > self._settings.max_request_line:
                raise self._line_too_long()
            return
        if line_end + 2 - start > self._settings.max_request_line:
            raise self._line_too_long()
        if REQUEST_LINE.match(buffer, start) is None:
            raise self._bad_request_line(buffer, start, line_end + 2)
        if len(buffer) - line_end - 2 > self._settings.max_headers:
            raise self._headers_too_long()
        if len(buffer) - buffer.rfind(b"\r\n") - 2 > self._settings.max_header:
            raise self._header_too_long()

    def _look_at(self, head: Head) -> None:  # noqa: C901 - one branch for each field that frames
        """Take from the headers what frames the request, and refuse what RFC 9112 section 6 forbids."""
        hosts = 0
        lengths: list[bytes] = []
        codings: list[bytes] = []
        for name, value in head.headers:
            if name == b"host":
                hosts += 1
                if HOST.match(value) is None:
                    raise ProtocolError(400, "malformed Host header")
            elif name == b"content-length":
                lengths.append(value)
            elif name == b"transfer-encoding":
                codings.append(value)
            elif name == b"connection":
                options = [option.strip() for option in value.lower().split(b",")]
                if b"close" in options:
                    head.keep_alive = False
                elif b"keep-alive" in options and head.version == 0:
                    head.keep_alive = True
            elif name == b"expect":
                if value.lower() != b"100-continue":
                    raise ProtocolError(417, "the only expectation that can be met is 100-continue")
                head.expects_continue = head.version == 1
            if len(name) + len(value) > self._settings.max_header:
                raise self._header_too_long()
        if hosts != 1 and (hosts > 1 or head.version == 1):
            raise ProtocolError(400, "an HTTP/1.1 request has exactly one Host header")
        if codings:
            self._check_codings(head, codings, lengths)
            head.length = None
        elif lengths:
            if len(lengths) > 1 or CONTENT_LENGTH.match(lengths[0]) is None:
                raise ProtocolError(400, "malformed or repeated Content-Length")
            head.length = int(lengths[0])

    @staticmethod
    def _check_codings(head: Head, codings: list[bytes], lengths: list[bytes]) -> None:
        if lengths:
            raise ProtocolError(400, "Content-Length beside Transfer-Encoding")
        if head.version == 0:
            raise ProtocolError(400, "Transfer-Encoding in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            if codings[-1].lower().rpartition(b",")[2].strip() != b"chunked":
                raise ProtocolError(400, "the last transfer coding of a request must be chunked")
            raise ProtocolError(501, "the only transfer coding that is understood is chunked")

    def _line_too_long(self) -> ProtocolError:
        return ProtocolError(414, f"the request line is longer than {self._settings.max_request_line} bytes")

    def _header_too_long(self) -> ProtocolError:
        return ProtocolError(431, f"a header is longer than {self._settings.max_header} bytes")

    def _headers_too_long(self) -> ProtocolError:
        return ProtocolError(431, f"the headers are longer than {self._settings.max_headers} bytes")

    def _bad_request_line(self, buffer: bytes, start: int, end: int) -> ProtocolError:
        line_end = buffer.find(b"\r\n", start, end)
        if line_end - start > self._settings.max_request_line:
            return self._line_too_long()
        return ProtocolError(400, "malformed request line; METHOD TARGET HTTP/1.1 is what it should be")

    # --- the body -------------------------------------------------------------------------------

    def _read_length(self, buffer: bytes, start: int, events: list[ReadEvent]) -> int:
        piece = buffer[start : start + self._left]
        self._left -= len(piece)
        events.append(piece)
        if not self._left:
            self._end(events)
        return start + len(piece)

    def _end(self, events: list[ReadEvent]) -> None:
        events.append(END)
        self._state = State.ENDED if self._is_last else State.HEAD

    def _read_chunked(self, buffer: bytes, start: int, events: list[ReadEvent]) -> int:
        if self._trailers:
            return self._read_trailers(buffer, start, events)
        if self._in_chunk:
            return self._read_chunk(buffer, start, events)
        match = CHUNK_LINE.match(buffer, start)
        if match is None or match.end() - start > MAX_CHUNK_LINE:
            line_end = buffer.find(b"\n", start)
            if line_end < 0 and len(buffer) - start <= MAX_CHUNK_LINE:
                return start
            raise ProtocolError(400, "malformed chunk size, or a chunk extension that is too long")
        self._left = int(match[1], 16)
        if self._left:
            self._in_chunk = True
        else:
            self._trailers = True
        return match.end()

    def _read_chunk(self, buffer: bytes, start: int, events: list[ReadEvent]) -> int:
        if self._left:
            piece = buffer[start : start + self._left]
            self._left -= len(piece)
            events.append(piece)
            return start + len(piece)
        if len(buffer) - start < 2:
            if buffer[start : start + 1] not in (b"", b"\r"):
                raise ProtocolError(400, "a chunk is longer than its size says")
            return start
        if not buffer.startswith(b"\r\n", start):
            raise ProtocolError(400, "a chunk is longer than its size says")
        self._in_chunk = False
        return start + 2

    def _read_trailers(self, buffer: bytes, start: int, events: list[ReadEvent]) -> int:
        # Trailers are read over (RFC 9110 section 6.5.1 allows it), but not without end.
        if buffer.startswith(b"\r\n", start):
            self._end(events)
            return start + 2
        end = buffer.find(b"\r\n\r\n", start)
        if (end if end >= 0 else len(buffer)) - start > self._settings.max_header:
            raise ProtocolError(431, f"the trailers are longer than {self._settings.max_header} bytes")
        if end < 0:
            return start
        self._end(events)
        return end + 4
