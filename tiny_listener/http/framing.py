"""Where one request ends and the next begins: bytes in, heads and pieces of bodies out. No sockets, no clock.

The life of the reader (RFC 9112 sections 2, 6 and 7). Each state is the method that reads in it:

    HEAD ──head──> LENGTH ──all its bytes──> HEAD         Content-Length
      │ └──head──> CHUNKED ──last chunk────> HEAD         Transfer-Encoding: chunked
      └────head────────────────────────────> HEAD         no body
    any ──the last request ends──> NOTHING                the client wants no further one; nothing more is read
    any ──violation──────────────> OVER                   the client may not know yet; what it sends is read over

llhttp reads the fields of a head; where the head ends, and all that follows it, is decided here, so that no
second request is ever read before the first is framed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import httptools

from .errors import ProtocolError
from .fields import FRAMING, NO_FRAMING, OWS, Field, Framing, framing_of, is_authority

if TYPE_CHECKING:
    from .settings import HTTPSettings

__all__ = ["END", "End", "Head", "ReadEvent", "RequestReader"]

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
REQUEST_LINE = re.compile(rb"(%b) ([\x21-\x7e]++) HTTP/([0-9]\.[0-9])\r\n" % TOKEN)
"""RFC 9112 section 3."""
HEAD_LINE = re.compile(rb"(?:\r\n)*+HEAD ")
BARE_LF = re.compile(rb"(?<!\r)\n")
COMMON_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
CR = 13
KNOWN_LINE = b"GET / HTTP/1.%d\r\n"
"""What llhttp is shown in place of a request line that it may not know."""
CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?)*+)\r\n"
    % (TOKEN, TOKEN, rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*+"')
)
"""RFC 9112 section 7.1; the size fits 64 bits, extensions are read over."""
MAX_CHUNK_LINE = 4 * 1024
"""Bytes of a chunk's size and extensions: nobody uses extensions, and they may not be endless."""
MAX_EXTENSIONS = 16 * 1024
"""Bytes of the extensions of all chunks of a body (RFC 9112 section 7.1.1): as much as Go's net/http bears."""
TRAILERS = re.compile(rb"(?:%b:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+" % TOKEN)
"""RFC 9112 section 7.1.2; no folded lines."""


class End(Enum):
    """Marks the end of a request's body."""

    END = "end"


END: Final = End.END

new = object.__new__


class Head:
    """The head of a request.

    :ivar method: as sent
    :ivar target: the request target as sent: visible ASCII characters
    :ivar version: minor version, 0 or 1; a later one is taken for 1 (RFC 9110 section 6.2)
    :ivar fields: names in lower case and values, bytes, in their order; values may have whitespace at their end
    """

    keep_alive = True
    """Whether the client wants the connection to go on."""
    length: int | None = 0
    """Bytes of the body; 0 without one, None when it comes in chunks."""
    expects_continue = False
    """Whether the client waits for `100 Continue` before it sends the body."""

    def __init__(self, method: str, target: str, version: int, fields: list[Field]) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.fields = fields

    @cached_property
    def headers(self) -> list[Field]:
        """Names in lower case and values, bytes, in their order."""
        # PERF: the parser leaves whitespace at the end of values (RFC 9110 section 5.5); who looks at them cuts it off.
        return [(name, value.rstrip(OWS)) for name, value in self.fields]


ReadEvent: TypeAlias = "Head | bytes | End | ProtocolError"
Step: TypeAlias = "Callable[[RequestReader, bytes, int, list[ReadEvent]], int]"
"""Reads from a position of a buffer, adds what is complete to the events, and returns how far it came."""


class RequestReader:
    """Reads the requests of one connection.

    :param settings: the limits
    :param head_class: what the heads are made of; it is not initialised further
    """

    __slots__ = (
        "_before",
        "_extensions",
        "_fields",
        "_head_class",
        "_headers",
        "_in_chunk",
        "_left",
        "_next",
        "_parser",
        "_settings",
        "_step",
        "_trailers",
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
        self._before: tuple[list[Field], int, Framing] = [], -1, NO_FRAMING
        self._parser = httptools.HttpRequestParser(self)
        self._next: Step = RequestReader._read_head  # after the body
        self._left = 0  # bytes of the body, or of the chunk, that are to come
        self._in_chunk = False
        self._trailers = False
        self._extensions = 0  # bytes of chunk extensions of the body

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

    @property
    def is_over(self) -> bool:
        """Whether all was read that the client said it would send."""
        return self._step is RequestReader._read_nothing

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
            # RFC 9110 section 9.3.2: whatever is wrong with it, the answer to HEAD has no content.
            error.is_head = self._step is RequestReader._read_head and HEAD_LINE.match(data, position) is not None
            self._step = RequestReader._read_over
            events.append(error)
            position = size
        # PERF: most often nothing is left, and nothing need be cut off
        self.unread = b"" if position == size else data[position:]
        return events

    def _read_nothing(self, buffer: bytes, _start: int, _events: list[ReadEvent]) -> int:
        return len(buffer)

    def _read_over(self, buffer: bytes, _start: int, _events: list[ReadEvent]) -> int:
        return len(buffer)

    # --- the head -------------------------------------------------------------------------------

    def _read_head(self, buffer: bytes, start: int, events: list[ReadEvent]) -> int:
        if buffer[start] == CR and buffer.startswith(b"\r\n", start):
            start = _after_empty_lines(buffer, start)
        end = buffer.find(b"\r\n\r\n", start) + 4
        if end == 3:
            self._check_unfinished(buffer, start)
            return start
        # PERF: what is usual is seen by means of C alone; what is not is looked at closely in `_check_line`.
        data = buffer[start:end] if start or end < len(buffer) else buffer
        settings = self._settings
        try:
            method_bytes, target_bytes, rest = data.split(b" ", 2)
            method, target = COMMON_METHODS[method_bytes], target_bytes.decode("ascii")
        except (KeyError, ValueError):
            method, target, version, data = self._check_line(data)
        else:
            version = 1
            if rest[:10] != b"HTTP/1.1\r\n" or not target.isprintable() or len(data) > settings.max_request_line:
                method, target, version, data = self._check_line(data)
        headers: list[Field] = []
        fields: list[Field] = []
        self._headers, self._fields = headers, fields
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._parser = httptools.HttpRequestParser(self)
        except (httptools.HttpParserError, httptools.HttpParserCallbackError):
            self._feed_again(data)
        if len(data) > settings.max_header or len(headers) > settings.max_header_fields:
            self._check_sizes(data, headers)
        # PERF: as its own __init__ would do, at a third of the cost.
        head = new(self._head_class)
        head.method, head.target, head.version, head.fields = method, target, version, headers
        # PERF: what frames the requests of one client is the same from one to the next.
        if fields == self._before[0] and version == self._before[1]:
            framing = self._before[2]
        else:
            framing = framing_of(fields, version)
            self._before = fields, version, framing
        events.append(head)
        if framing is not NO_FRAMING:
            self._apply(framing, head)
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
        self._extensions = 0

    def _feed_again(self, head: bytes) -> None:
        """Have a new parser read the head: the last one may have been told by `Proxy-Connection`, which means
        nothing here, that no further request comes.
        """
        self._headers.clear()
        self._fields.clear()
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self._parser = httptools.HttpRequestParser(self)
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as exc:
            raise ProtocolError(400, f"malformed header fields ({type(exc).__name__})") from None

    def _check_line(self, head: bytes) -> tuple[str, str, int, bytes]:
        """Return what the request line says: method, target, minor version; and the head as llhttp takes it."""
        line_end = head.find(b"\r\n")
        match = REQUEST_LINE.match(head)
        if match is None or line_end + 2 > self._settings.max_request_line:
            raise self._bad_request_line(head, 0, line_end)
        method, target, version = match.groups()
        if version[:2] != b"1.":
            raise ProtocolError(505, "this server speaks HTTP/1.1 and HTTP/1.0")
        if method == b"CONNECT":
            raise _refusal_of_tunnel(target)
        minor = int(version != b"1.0")
        # llhttp knows the registered methods only, and refuses others.
        fed = KNOWN_LINE % minor + head[line_end + 2 :]
        return method.decode("ascii"), target.decode("ascii"), minor, fed

    def _check_sizes(self, head: bytes, headers: list[Field]) -> None:
        settings = self._settings
        if len(head) - head.find(b"\r\n") - 2 > settings.max_headers:
            raise self._headers_too_long()
        if any(len(name) + len(value) > settings.max_header for name, value in headers):
            raise self._header_too_long()
        if len(headers) > settings.max_header_fields:
            raise ProtocolError(431, f"more than {settings.max_header_fields} header fields")

    def _check_unfinished(self, buffer: bytes, start: int) -> None:
        line_end = buffer.find(b"\r\n", start)
        if BARE_LF.search(buffer, start) is not None:
            # RFC 9112 section 2.2 allows it as the end of a line, and no empty line will ever follow.
            raise ProtocolError(400, "lines end with CR LF")
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
        self._extensions += len(match[2])
        if self._extensions > MAX_EXTENSIONS:
            raise ProtocolError(400, f"the chunk extensions of a body are longer than {MAX_EXTENSIONS} bytes")
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
        # Trailers are read over (RFC 9110 section 6.5.1 allows it), but not without end, and not whatever they are:
        # what another server on the way takes for their end must be what is taken for it here.
        limit = self._settings.max_header
        lines = TRAILERS.match(buffer, start)
        end = start if lines is None else lines.end()
        line_end = buffer.find(b"\n", end) + 1 or len(buffer)
        if end - start > limit or line_end - start > limit + 2:
            raise self._trailers_too_long()
        if buffer.startswith(b"\r\n", end):
            if buffer.count(b"\n", start, end) > self._settings.max_header_fields:
                raise self._trailers_too_long()
            self._end(events)
            return end + 2
        if buffer.find(b"\n", end) >= 0:
            raise ProtocolError(400, "malformed trailer fields")
        return start

    def _trailers_too_long(self) -> ProtocolError:
        settings = self._settings
        return ProtocolError(
            431, f"the trailers are longer than {settings.max_header} bytes, or more than {settings.max_header_fields}"
        )


def _after_empty_lines(buffer: bytes, start: int) -> int:
    # RFC 9112 section 2.2: ignore one before a request; but all there are, or it would matter how they were cut.
    while buffer.startswith(b"\r\n", start):
        start += 2
    return start


def _refusal_of_tunnel(target: bytes) -> ProtocolError:
    """Why a CONNECT is refused: 501, because this is no proxy and the method is known to no route of it (RFC 9110
    sections 9.1 and 9.3.6); 400 for a target that is no host with a port. What follows is never read as requests.
    """
    port = target.rpartition(b":")[2]
    if not is_authority(target) or not port.isdigit() or not 0 < int(port) < 65536:
        return ProtocolError(400, "the target of CONNECT is a host and a port")
    return ProtocolError(501, "this server is no proxy, and opens no tunnels")
