"""The message framing of requests: bytes in, heads and pieces of bodies out. No sockets, no clock.

The states of the reader (RFC 9112 sections 2, 6 and 7). Each state is the method that reads in it:

    HEAD ──head──> LENGTH ──all its bytes──> HEAD         Content-Length
     │ └──head──> CHUNKED ──last chunk────> HEAD         Transfer-Encoding: chunked
     └────head────────────────────────────> HEAD         no body, or all of it together with the head
    any ──the last request ends──> NOTHING                the client wants no further one; what follows is discarded
    any ──violation──────────────> NOTHING                the client may not know yet; what it sends is discarded

llhttp validates the grammar of a head (`grammar`). Where the head ends, and everything after it, is decided here, so
that a second request is never read before the first is framed.

The cost is linear in the bytes, in whatever pieces they arrive: each byte of an incomplete head is examined once
(`PartialHead`), an incomplete chunk size or trailer only when its line ends. And the work of one call is limited:
`receive` stops at a limit, and sets `has_more`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from httptools import HttpParserError, HttpParserUpgrade

from ...errors import ProtocolError
from ...syntax import METHODS
from .chunked import ChunkedBody
from .fields import NO_FRAMING, Framing, framing_lines, framing_of, further_framing
from .grammar import Grammar
from .head import Head, after_empty_lines, check_sizes, is_head_request, read_line
from .partial_head import PartialHead

if TYPE_CHECKING:
    from ...settings import HTTPSettings

__all__ = ["END", "End", "ReadEvent", "RequestReader"]

COMMON_METHODS = {name.encode(): name for name in METHODS}
CR = 13
MAX_WORK = 1024
"""Maximum work of one `receive`, in pieces of bodies: with one-byte chunks about 2 ms."""
HEAD_WORK = 8
"""What a head counts as, because there is a request to answer. A long one counts as several:"""
BYTES_PER_WORK = 512
"""this number of bytes counts as one more."""


class End(Enum):
    """Marks the end of a request's body."""

    END = "end"


END: Final = End.END

new = object.__new__

ReadEvent: TypeAlias = "Head | bytes | End | ProtocolError"
Step: TypeAlias = "Callable[[RequestReader, bytes, int, list[ReadEvent]], int]"
"""Reads from a position of a buffer, appends what is complete to the events, and returns the new position."""


class RequestReader:
    """Reads the requests of one connection.

    :param settings: the limits
    :param grammar: validates heads; connections that are read one after another may share one
    :param head_class: class of the heads; it is not initialised further
    """

    __slots__ = (
        "_chunks",
        "_framing",
        "_grammar",
        "_head_class",
        "_kept",
        "_left",
        "_max_lines",
        "_next",
        "_partial",
        "_safe_size",
        "_settings",
        "_small",
        "_step",
        "_usual_lines",
        "_usual_size",
        "_usual_start",
        "has_more",
        "is_over",
        "position",
    )

    def __init__(self, settings: HTTPSettings, grammar: Grammar, head_class: type[Head] = Head) -> None:
        self._settings = settings
        self._grammar = grammar
        self._head_class = head_class
        self._step: Step = RequestReader._read_head
        self._partial: PartialHead | None = None  # an incomplete head
        self._chunks: ChunkedBody | None = None  # the body that is being read, if it is chunked
        self._kept = b""  # any other bytes that cannot be read yet, or exceed the work limit
        self.has_more = False
        """Whether there are bytes that can be read at once, with `receive(b"")`."""
        self.position = 0
        """The end of what `read_head` read last."""
        self.is_over = False
        """Whether everything that the client announced has been read."""
        # PERF: the framing of a client's requests is the same from one to the next.
        self._usual_lines = grammar.usual_lines  # the framing lines of the last HTTP/1.1 request,
        self._framing = grammar.framing  # and the resulting framing
        self._usual_start = grammar.usual_start  # if its Host came first: what follows its target, up to that line
        self._usual_size = len(self._usual_start or b"")
        self._small = min(4 * settings.max_header_fields, settings.safe_size)
        self._max_lines = settings.max_header_fields + 2
        self._safe_size = settings.safe_size

    @property
    def is_idle(self) -> bool:
        """Whether no byte of a request has been read since the last one ended."""
        return self._step is RequestReader._read_head and self._partial is None and not self._kept

    @property
    def in_head(self) -> bool:
        """Whether a part of a head has been read."""
        return self._step is RequestReader._read_head and (self._partial is not None or bool(self._kept))

    @property
    def in_body(self) -> bool:
        """Whether a body is being read."""
        return self._step in (RequestReader._read_length, RequestReader._read_chunked)

    def keep(self, data: bytes) -> None:
        """Keep bytes that begin with a head, to be read later. Only valid while `is_idle`."""
        self._kept = data
        self.has_more = True

    def take_kept(self) -> bytes | None:
        """Return the bytes that were kept for later, if they begin with a head, so that they can be read again.

        :returns: None if something else has to be read first
        """
        if not self.has_more or self._step is not RequestReader._read_head or self._partial is not None:
            return None
        kept, self._kept = self._kept, b""
        self.has_more = False
        return kept

    def receive(self, data: bytes) -> list[ReadEvent]:
        """Continue reading with these bytes, but do no more than `MAX_WORK`; if there may be more, `has_more` is set.

        :returns: what they completed, in order: a `Head`; if its body did not come with it, the pieces of the body and
            END; a `ProtocolError`, after which nothing follows
        """
        events: list[ReadEvent] = []
        limit = MAX_WORK
        position, had_more = 0, self.has_more
        self.has_more = False
        try:
            if self._partial is not None:
                whole = self._partial.add(data)
                if whole is None:
                    if self._partial.is_empty:
                        self._partial = None
                    return events
                data, self._partial = whole, None
            elif self._kept:
                data = self._kept + data
                if not had_more and self._chunks is not None and not self._chunks.may_go_on(data, len(self._kept)):
                    self._kept = data
                    return events
                self._kept = b""
            size = len(data)
            while position < size:
                if limit <= 0:
                    self.has_more = True
                    break
                before, work = position, HEAD_WORK if self._step is RequestReader._read_head else 1
                position = self._step(self, data, position, events)
                if position == before:
                    break
                limit -= work + (position - before) // BYTES_PER_WORK * (work - 1)
            if position < size:
                rest = data[position:]
                if self.has_more or self._step is not RequestReader._read_head:
                    self._kept = rest
                else:
                    self._partial = PartialHead(rest, self._settings)
        except ProtocolError as error:
            # RFC 9110 section 9.3.2: the response to HEAD has no content, whatever the error.
            start = data[position:] if self._partial is None else self._partial.start
            error.is_head = self._step is RequestReader._read_head and is_head_request(start, 0)
            self._step = RequestReader._read_nothing
            self._partial, self._kept = None, b""
            events.append(error)
        return events

    def roll_back(self) -> None:
        """Roll back the last `read_head`, so that `receive` can parse the same bytes again.

        Only valid while no body is pending.
        """
        self._step = RequestReader._read_head
        self.is_over = False

    def _read_nothing(self, buffer: bytes, _start: int, _events: list[ReadEvent]) -> int:
        return len(buffer)

    # --- the head -------------------------------------------------------------------------------

    def _read_head(self, buffer: bytes, start: int, events: list[ReadEvent]) -> int:
        head = self.read_head(buffer, start)
        if head is None:
            return self.position
        events.append(head)
        return self.position

    def read_head(self, buffer: bytes, start: int) -> Head | None:  # noqa: C901 - PERF: a call costs a tenth of it
        """Read the head that begins here, and its body if that is complete; `position` is then after them.

        :returns: None if the head is incomplete; nothing of it was validated then
        :raises ProtocolError: it is malformed, or exceeds a limit
        """
        if buffer[start] == CR and buffer.startswith(b"\r\n", start):
            start = after_empty_lines(buffer, start)
        end = buffer.find(b"\r\n\r\n", start) + 4
        if end == 3:
            self.position = start
            return None
        # PERF: common requests are recognized by C functions alone; others are parsed in `read_line`.
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
        # PERF: a field has at least four bytes, so short heads need no check; those of browsers are counted here.
        if len(data) > self._small and (len(data) > self._safe_size or data.count(b"\r\n") > self._max_lines):
            check_sizes(data, self._settings)
        grammar = self._grammar
        open_message = grammar.open_message
        if open_message:  # another request left it open
            grammar.renew()
        open_message.append(True)
        try:
            grammar.parser.feed_data(data)
        except (HttpParserUpgrade, HttpParserError):
            grammar.judge(data)
        # PERF: what its __init__ would do, at a third of the cost.
        head = new(self._head_class)
        head.method = method
        head.target = target
        head.version = version
        head.raw = data
        # PERF: without a body the Host is sufficient, if it is unchanged and no other line affects the framing.
        if not open_message and is_usual and further_framing(rest, self._usual_size - 1) is None:
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
            # The body is complete, so no pieces have to be reassembled.
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
        """Discard everything after the last request; llhttp knows that it was the last and would reject another."""
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
        self.position = end
        head.content = None
        self._step = RequestReader._read_chunked if length is None else RequestReader._read_length
        self._left = length or 0
        self._chunks = ChunkedBody(self._settings) if length is None else None

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
        """A request has been read completely."""
        self._step = self._next
        self.is_over = self._step is RequestReader._read_nothing

    def _read_chunked(self, buffer: bytes, start: int, events: list[ReadEvent]) -> int:
        chunks = self._chunks
        assert chunks is not None
        position = chunks.read(buffer, start, events.append)
        if chunks.is_complete:
            self._chunks = None
            self._end(events)
        return position
