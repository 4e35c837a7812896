"""Where one request ends and the next begins: bytes in, heads and pieces of bodies out. No sockets, no clock.

The life of the reader (RFC 9112 sections 2, 6 and 7). Each state is the method that reads in it:

    HEAD ──head──> LENGTH ──all its bytes──> HEAD         Content-Length
     │ └──head──> CHUNKED ──last chunk────> HEAD         Transfer-Encoding: chunked
     └────head────────────────────────────> HEAD         no body, or all of it together with the head
    any ──the last request ends──> NOTHING                the client wants no further one; nothing more is read
    any ──violation──────────────> OVER                   the client may not know yet; what it sends is read over

llhttp judges the grammar of a head (`grammar`); where the head ends, and all that follows it, is decided here, so
that no second request is ever read before the first is framed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from httptools import HttpParserError, HttpParserUpgrade

from .errors import ProtocolError
from .fields import NO_FRAMING, Framing, framing_lines, framing_of, further_framing
from .grammar import Grammar
from .head import TOKEN, Head, after_empty_lines, check_sizes, check_unfinished, is_head_request, read_line

if TYPE_CHECKING:
    from .settings import HTTPSettings

__all__ = ["END", "End", "ReadEvent", "RequestReader"]

COMMON_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
CR = 13
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

ReadEvent: TypeAlias = "Head | bytes | End | ProtocolError"
Step: TypeAlias = "Callable[[RequestReader, bytes, int, list[ReadEvent]], int]"
"""Reads from a position of a buffer, adds what is complete to the events, and returns how far it came."""


class RequestReader:
    """Reads the requests of one connection.

    :param settings: the limits
    :param grammar: the judge of heads; connections that are read in turns may share one
    :param head_class: what the heads are made of; it is not initialised further
    """

    __slots__ = (
        "_extensions",
        "_few_fields",
        "_framing",
        "_grammar",
        "_head_class",
        "_in_chunk",
        "_left",
        "_max_lines",
        "_next",
        "_safe_size",
        "_settings",
        "_step",
        "_trailers",
        "_usual_lines",
        "_usual_size",
        "_usual_start",
        "is_over",
        "position",
        "unread",
    )

    def __init__(self, settings: HTTPSettings, grammar: Grammar, head_class: type[Head] = Head) -> None:
        self._settings = settings
        self._grammar = grammar
        self._head_class = head_class
        self._step: Step = RequestReader._read_head
        self.unread = b""
        """What was received and cannot be read yet."""
        self.position = 0
        """Where what `read_head` read last ends."""
        self.is_over = False
        """Whether all was read that the client said it would send."""
        # PERF: what frames the requests of one client is the same from one to the next.
        self._usual_lines = grammar.usual_lines  # those of the last request of HTTP/1.1 that frame it,
        self._framing = grammar.framing  # and how they did
        self._usual_start = grammar.usual_start  # if its Host came first, up to that: what follows its target
        self._usual_size = len(self._usual_start or b"")
        self._few_fields = 4 * settings.max_header_fields
        self._max_lines = settings.max_header_fields + 2
        self._safe_size = settings.safe_size

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

    def receive(self, data: bytes) -> list[ReadEvent]:
        """Read on with these bytes.

        :returns: what they completed, in order: a `Head`; if its body did not come with it, the pieces of the body
            and END; a `ProtocolError`, after which nothing comes any more
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
            error.is_head = self._step is RequestReader._read_head and is_head_request(data, position)
            self._step = RequestReader._read_over
            events.append(error)
            position = size
        # PERF: most often nothing is left, and nothing need be cut off
        self.unread = b"" if position == size else data[position:]
        return events

    def forget(self) -> None:
        """Make undone that `read_head` read a head: it will be read again. For one who waits for nothing only."""
        self._step = RequestReader._read_head
        self.is_over = False

    def _read_nothing(self, buffer: bytes, _start: int, _events: list[ReadEvent]) -> int:
        return len(buffer)

    def _read_over(self, buffer: bytes, _start: int, _events: list[ReadEvent]) -> int:
        return len(buffer)

    # --- the head -------------------------------------------------------------------------------

    def _read_head(self, buffer: bytes, start: int, events: list[ReadEvent]) -> int:
        head = self.read_head(buffer, start)
        if head is None:
            return self.position
        events.append(head)
        return self.position

    def read_head(self, buffer: bytes, start: int) -> Head | None:  # noqa: C901 - PERF: a call costs a tenth of it
        """Read the head that begins here, and the body if all of it is here; `position` is then behind them.

        :returns: None when the head is incomplete
        :raises ProtocolError: it is malformed, or breaks a limit
        """
        if buffer[start] == CR and buffer.startswith(b"\r\n", start):
            start = after_empty_lines(buffer, start)
        end = buffer.find(b"\r\n\r\n", start) + 4
        if end == 3:
            check_unfinished(buffer, start, self._settings)
            self.position = start
            return None
        # PERF: what is usual is seen by means of C alone; what is not is looked at closely in `read_line`.
        data = buffer[start:end]
        try:
            method_bytes, target_bytes, rest = data.split(b" ", 2)
            method, target = COMMON_METHODS[method_bytes], target_bytes.decode("ascii")
        except (KeyError, ValueError):
            is_usual = False
            method, target, version, data = read_line(data, self._settings)
        else:
            version = 1
            is_usual = rest[: self._usual_size] == self._usual_start
            if not (is_usual or rest[:10] == b"HTTP/1.1\r\n") or not target.isprintable():
                is_usual = False
                method, target, version, data = read_line(data, self._settings)
        # PERF: a field takes at least four bytes; the heads of browsers have more of them, and are counted here.
        if len(data) > self._few_fields and (len(data) > self._safe_size or data.count(b"\r\n") > self._max_lines):
            check_sizes(data, self._settings)
        grammar = self._grammar
        unfinished = grammar.unfinished
        try:
            grammar.parser.feed_data(data)
        except (HttpParserUpgrade, HttpParserError):
            grammar.judge(data)
        # PERF: as its own __init__ would do, at a third of the cost.
        head = new(self._head_class)
        head.method = method
        head.target = target
        head.version = version
        head.raw = data
        if not unfinished:
            unfinished.append(True)
            # PERF: without a body the Host says it all, if it is the one that it was, and no other line has a say.
            if is_usual and further_framing(rest, self._usual_size - 1) is None:
                head.is_plain = True
                head.length = 0
                self.position = end
                return head
        framing = self._frame(data, version)
        if framing is NO_FRAMING:
            head.is_plain = True
            head.length = 0
            self.position = end
            return head
        keep_alive, length, _ = framing
        if version and length is not None and len(buffer) - end >= length:
            # What came whole need not be put together: no reader of pieces ever hears of it.
            head.is_plain = True
            head.length = length
            self.position = end = end + length
            head.content = content = buffer[end - length : end]
            if keep_alive:
                grammar.finish(content)
            else:
                head.keep_alive = False
                self._read_no_more()
        else:
            self._apply(framing, head, buffer, end)
        return head

    def _read_no_more(self) -> None:
        """Read over whatever follows the last request; llhttp knows that it was and would refuse another head."""
        self._grammar.renew()
        self._step = RequestReader._read_nothing
        self.is_over = True

    def _frame(self, head: bytes, version: int) -> Framing:
        lines = framing_lines(head)
        if not version:
            return framing_of(lines, version)
        if lines != self._usual_lines:
            grammar = self._grammar
            self._framing = grammar.framing = framing_of(lines, version)
            self._usual_lines = grammar.usual_lines = lines
            if lines[0][:6].lower() == b"\nhost:":
                self._usual_start = grammar.usual_start = start = b"HTTP/1.1\r" + lines[0] + b"\r\n"
                self._usual_size = len(start)
        return self._framing

    def _apply(self, framing: Framing, head: Head, buffer: bytes, end: int) -> None:
        head.keep_alive, length, head.expects_continue = framing
        head.length = length
        self._next = RequestReader._read_head if framing.keep_alive else RequestReader._read_nothing
        if length is not None and len(buffer) - end >= length:
            self.position = end + length
            head.content = buffer[end : self.position]
            self._grammar.finish(head.content)
            self._go_on()
            return
        self._grammar.renew()
        self.position = end
        head.content = None
        self._step = RequestReader._read_chunked if length is None else RequestReader._read_length
        self._left = length or 0
        self._in_chunk = self._trailers = False
        self._extensions = 0  # bytes of chunk extensions of the body

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
        self._go_on()

    def _go_on(self) -> None:
        """A request has been read to its end."""
        self._step = self._next
        self.is_over = self._step is RequestReader._read_nothing

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
