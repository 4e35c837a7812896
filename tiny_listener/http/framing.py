"""Where one request ends and the next begins: bytes in, heads and pieces of bodies out. No sockets, no clock.

The life of the reader (RFC 9112 sections 2, 6 and 7). Each state is the method that reads in it:

    HEAD ──head──> LENGTH ──all its bytes──> HEAD         Content-Length
      │ └──head──> CHUNKED ──last chunk────> HEAD         Transfer-Encoding: chunked
      └────head────────────────────────────> HEAD         no body
    any ──the last request ends──> NOTHING                the client wants no further one; nothing more is read
    any ──violation──────────────> NOTHING

llhttp reads the fields of a head; where the head ends, and all that follows it, is decided here, so that no
second request is ever read before the first is framed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import httptools

from .errors import ProtocolError

if TYPE_CHECKING:
    from .settings import HTTPSettings

__all__ = ["END", "End", "Head", "ReadEvent", "RequestReader"]

REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])\r\n")
"""RFC 9112 section 3; no registered method is longer than 17 characters (UPDATEREDIRECTREF)."""
COMMON_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
CR = 13
FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})
"""The fields that say how to go on."""
CONTENT_LENGTH = re.compile(rb"[0-9]{1,19}\Z")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?\r\n")
"""RFC 9112 section 7.1; the size fits 64 bits, extensions are read over."""
MAX_CHUNK_LINE = 4 * 1024
"""Bytes of a chunk's size and extensions: nobody uses extensions, and they may not be endless."""
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]*)(?::[0-9]{0,5})?\Z")
"""RFC 3986 section 3.2.2, RFC 9110 section 7.2."""


class End(Enum):
    """Marks the end of a request's body."""

    END = "end"


END: Final = End.END

new = object.__new__


class Head:
    """The head of a request.

    :ivar method: as sent
    :ivar target: the request target as sent: visible ASCII characters
    :ivar version: minor version, 0 or 1
    :ivar headers: names in lower case and values, bytes, in their order
    """

    # NOTE: a default in the class costs four times as much to read as an attribute of the instance; these are
    # read where `is_plain`, which is set where it holds, did not say enough.
    keep_alive = True
    """Whether the client wants the connection to go on."""
    is_plain = False
    """Whether it is of HTTP/1.1, has no body, and another request may follow."""
    length: int | None = 0
    """Bytes of the body; 0 without one, None when it comes in chunks."""
    expects_continue = False
    """Whether the client waits for `100 Continue` before it sends the body."""

    def __init__(self, method: str, target: str, version: int, headers: list[Field]) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers


class Framing(NamedTuple):
    """What a request's headers say about its borders; see `Head`."""

    keep_alive: bool
    length: int | None
    expects_continue: bool


NO_FRAMING = Framing(keep_alive=True, length=0, expects_continue=False)
"""Of a request of HTTP/1.1 without a body that another may follow: the same object for all of them."""

Field: TypeAlias = tuple[bytes, bytes]
ReadEvent: TypeAlias = "Head | bytes | End | ProtocolError"
Step: TypeAlias = "Callable[[RequestReader, bytes, int, list[ReadEvent]], int]"
"""Reads from a position of a buffer, adds what is complete to the events, and returns how far it came."""


class RequestReader:
    """Reads the requests of one connection.

    :param settings: the limits
    :param head_class: what the heads are made of; it is not initialised further
    """

    __slots__ = (
        "_fields",
        "_framing",
        "_head_class",
        "_headers",
        "_in_chunk",
        "_left",
        "_next",
        "_parser",
        "_safe_size",
        "_settings",
        "_step",
        "_trailers",
        "_usual_fields",
        "unread",
    )

    def __init__(self, settings: HTTPSettings, head_class: type[Head] = Head) -> None:
        self._settings = settings
        self._head_class = head_class
        self._step: Step = RequestReader._read_head
        self.unread = b""
        """What was received and cannot be read yet."""
        self._headers: list[Field] = []
        self._fields: list[Field] = []  # those of the headers that frame the request
        self._usual_fields: list[Field] = [(b"", b"")]  # of the last request of HTTP/1.1, and how they framed it
        self._framing = NO_FRAMING
        # Bytes of a head that breaks no limit, whatever is in it; a field takes at least four.
        self._safe_size = min(
            settings.max_request_line, settings.max_headers, settings.max_header, 4 * settings.max_header_fields
        )
        self._parser = httptools.HttpRequestParser(self)
        self._next: Step = RequestReader._read_head  # after the body
        self._left = 0  # bytes of the body, or of the chunk, that are to come
        self._in_chunk = False
        self._trailers = False

    @property
    def is_idle(self) -> bool:
        """Whether no byte of a request has been read yet since the last one ended."""
        return self._step is RequestReader._read_head and not self.unread

    @property
    def in_head(self) -> bool:
        """Whether a part of a head has been read."""
        return self._step is RequestReader._read_head and bool(self.unread)

    @property
    def in_body(self) -> bool:
        """Whether a body is being read."""
        return self._step in (RequestReader._read_length, RequestReader._read_chunked)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        name = name.lower()
        self._headers.append((name, value))
        if name in FRAMING:
            self._fields.append((name, value))

    def receive(self, data: bytes) -> list[ReadEvent]:
        """Read on with these bytes.

        :returns: what they completed, in order: a `Head`; pieces of its body; END after a body (a request
            without one is its head alone); a `ProtocolError`, after which nothing comes any more
        """
        events: list[ReadEvent] = []
        if self.unread:
            data = self.unread + data
        position, size = 0, len(data)
        try:
            while position < size:
                before = position
                position = self._step(self, data, position, events)
                if position == before:
                    break
        except ProtocolError as error:
            self._step = RequestReader._read_nothing
            events.append(error)
            position = size
        # PERF: most often nothing is left, and nothing need be cut off
        self.unread = b"" if position == size else data[position:]
        return events

    def _read_nothing(self, buffer: bytes, _start: int, _events: list[ReadEvent]) -> int:
        return len(buffer)

    # --- the head -------------------------------------------------------------------------------

    def _read_head(self, buffer: bytes, start: int, events: list[ReadEvent]) -> int:
        if buffer[start] == CR and buffer.startswith(b"\r\n", start):
            start += 2  # RFC 9112 section 2.2: ignore an empty line before a request
        end = buffer.find(b"\r\n\r\n", start) + 4
        if end == 3:
            self._check_unfinished(buffer, start)
            return start
        # PERF: what is usual is seen by means of C alone; what is not is looked at closely in `_check_line`.
        data = buffer[start:end] if start or end < len(buffer) else buffer
        headers: list[Field]
        fields: list[Field]
        try:
            method_bytes, target_bytes, rest = data.split(b" ", 2)
            method, target = COMMON_METHODS[method_bytes], target_bytes.decode("ascii")
        except (KeyError, ValueError):
            method, target, version = self._check_line(data)
        else:
            version = 1
            if rest[:10] != b"HTTP/1.1\r\n" or not target.isprintable():
                method, target, version = self._check_line(data)
        self._headers = headers = []
        self._fields = fields = []
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._parser = httptools.HttpRequestParser(self)
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as exc:
            raise ProtocolError(400, f"malformed header fields ({type(exc).__name__})") from None
        if len(data) > self._safe_size:
            self._check_sizes(data, headers)
        # PERF: as its own __init__ would do, at a third of the cost.
        head = new(self._head_class)
        head.method = method
        head.target = target
        head.version = version
        head.headers = headers
        # PERF: what frames the requests of one client is the same from one to the next.
        if version and fields == self._usual_fields:
            framing = self._framing
        else:
            framing = framing_of(fields, version)
            if version:
                self._usual_fields, self._framing = fields, framing
        if framing is NO_FRAMING:
            head.is_plain = True
        else:
            self._apply(framing, head)
        events.append(head)
        return end

    def _apply(self, framing: Framing, head: Head) -> None:
        head.keep_alive, head.length, head.expects_continue = framing
        self._next = RequestReader._read_head if framing.keep_alive else RequestReader._read_nothing
        if framing.length == 0:
            self._step = self._next
            return
        # The parser waits for a body that is read here: the next head gets a new one.
        self._parser = httptools.HttpRequestParser(self)
        self._step = RequestReader._read_chunked if framing.length is None else RequestReader._read_length
        self._left = framing.length or 0
        self._in_chunk = self._trailers = False

    def _check_line(self, head: bytes) -> tuple[str, str, int]:
        """Return what the request line says: method, target, minor version."""
        line_end = head.find(b"\r\n")
        match = REQUEST_LINE.match(head)
        if match is None or line_end + 2 > self._settings.max_request_line:
            raise self._bad_request_line(head, 0, line_end)
        method, target, version = match.groups()
        if version not in (b"1.1", b"1.0"):
            raise ProtocolError(505, "this server speaks HTTP/1.1 and HTTP/1.0")
        return method.decode("ascii"), target.decode("ascii"), int(version == b"1.1")

    def _check_sizes(self, head: bytes, headers: list[Field]) -> None:
        settings = self._settings
        if head.find(b"\r\n") + 2 > settings.max_request_line:
            raise self._line_too_long()
        if len(head) - head.find(b"\r\n") - 2 > settings.max_headers:
            raise self._headers_too_long()
        if any(len(name) + len(value) > settings.max_header for name, value in headers):
            raise self._header_too_long()
        if len(headers) > settings.max_header_fields:
            raise ProtocolError(431, f"more than {settings.max_header_fields} header fields")

    def _check_unfinished(self, buffer: bytes, start: int) -> None:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            if len(buffer) - start > self._settings.max_request_line:
                raise self._line_too_long()
            return
        if line_end + 2 - start > self._settings.max_request_line:
            raise self._line_too_long()
        if REQUEST_LINE.match(buffer, start) is None:
            raise self._bad_request_line(buffer, start, line_end)
        if len(buffer) - line_end - 2 > self._settings.max_headers:
            raise self._headers_too_long()
        if len(buffer) - buffer.rfind(b"\r\n") - 2 > self._settings.max_header:
            raise self._header_too_long()

    def _line_too_long(self) -> ProtocolError:
        return ProtocolError(414, f"the request line is longer than {self._settings.max_request_line} bytes")

    def _header_too_long(self) -> ProtocolError:
        return ProtocolError(431, f"a header is longer than {self._settings.max_header} bytes")

    def _headers_too_long(self) -> ProtocolError:
        return ProtocolError(431, f"the headers are longer than {self._settings.max_headers} bytes")

    def _bad_request_line(self, buffer: bytes, start: int, line_end: int) -> ProtocolError:
        if line_end + 2 - start > self._settings.max_request_line:
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
        self._step = self._next

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


def framing_of(fields: list[Field], version: int) -> Framing:
    """Return how a request is framed; refuse what RFC 9112 section 6 forbids.

    :param fields: those of its headers whose names are in FRAMING
    :raises ProtocolError: 400, 417, 501
    """
    values: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        values.setdefault(name, []).append(value)
    hosts = values.get(b"host", [])
    if len(hosts) > 1 or (version == 1 and not hosts):
        raise ProtocolError(400, "an HTTP/1.1 request has exactly one Host header")
    if hosts and HOST.match(hosts[0]) is None:
        raise ProtocolError(400, "malformed Host header")
    expectations = values.get(b"expect", [])
    if any(value.lower() != b"100-continue" for value in expectations):
        raise ProtocolError(417, "the only expectation that can be met is 100-continue")
    framing = Framing(
        _keeps_alive(b",".join(values.get(b"connection", [])), version),
        _length(values.get(b"content-length", []), values.get(b"transfer-encoding", []), version),
        bool(expectations) and version == 1,
    )
    return NO_FRAMING if version == 1 and framing == NO_FRAMING else framing


def _length(lengths: list[bytes], codings: list[bytes], version: int) -> int | None:
    if codings:
        _check_codings(codings, lengths, version)
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or CONTENT_LENGTH.match(lengths[0]) is None:
        raise ProtocolError(400, "malformed or repeated Content-Length")
    return int(lengths[0])


def _check_codings(codings: list[bytes], lengths: list[bytes], version: int) -> None:
    if lengths:
        raise ProtocolError(400, "Content-Length beside Transfer-Encoding")
    if version == 0:
        raise ProtocolError(400, "Transfer-Encoding in HTTP/1.0")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        if codings[-1].lower().rpartition(b",")[2].strip() != b"chunked":
            raise ProtocolError(400, "the last transfer coding of a request must be chunked")
        raise ProtocolError(501, "the only transfer coding that is understood is chunked")


def _keeps_alive(options: bytes, version: int) -> bool:
    """Whether the connection goes on, by the options of all Connection headers (RFC 9112 section 9.3)."""
    listed = [option.strip() for option in options.lower().split(b",")]
    return b"close" not in listed and (version == 1 or b"keep-alive" in listed)
