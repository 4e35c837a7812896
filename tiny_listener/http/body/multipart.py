"""The message framing of multipart/form-data (RFC 2046 section 5.1.1, RFC 7578). Pure: no I/O.

`MultipartParser` receives a body in pieces of any size and reports each part to a `Parts`. It buffers only the head of
one part and what may become a boundary. So its work is linear in the bytes, however they are split.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..headers import Field

from ..syntax import TOKEN

__all__ = [
    "MAX_BOUNDARY",
    "MAX_PART_FIELDS",
    "MAX_PART_HEAD",
    "MultipartError",
    "MultipartParser",
    "Parts",
    "parse_parameters",
]

MAX_BOUNDARY = 70
"""Bytes of a boundary (RFC 2046 section 5.1.1)."""
MAX_PART_HEAD = 4 * 1024
"""Bytes of all header fields of one part; browsers send some 200."""
MAX_PART_FIELDS = 8
"""Header fields of one part. RFC 7578 section 4 knows three."""
MAX_PADDING = 128
"""Blanks after a boundary. RFC 2046 sets no limit; gateways may add them to fill up a short record."""

_BOUNDARY = re.compile(rb"[ -~]*[!-~]\Z")
_FIELD = re.compile(rb"(%b):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)\Z" % TOKEN.encode())
_AFTER = re.compile(rb"--|[ \t]{0,%d}\r\n" % MAX_PADDING)
"""What follows a boundary: the close delimiter, or the end of the line."""
_AFTER_BEGINS = re.compile(rb"(?:-|[ \t]{0,%d}\r?)\Z" % MAX_PADDING)
_PARAMETER = re.compile(
    rb"""[ \t]*+;[ \t]*+(?:([^\s=;"]++)[ \t]*+=[ \t]*+
    (?:"((?:[^"\\]|\\.)*+)"[ \t]*+|"([^"]*+)"[ \t]*+|([^;"]*+)))?(?=;|\Z)""".replace(b"\n    ", b""),
    re.DOTALL,
)
"""In quotes with escapes (RFC 9110 section 5.6.4), in quotes with literal backslashes, or without quotes. Possessive
quantifiers (`*+`) prevent backtracking, so that the time is linear in the bytes."""
_ESCAPED = re.compile(rb'\\(["\\])')


class MultipartError(ValueError):
    """The body is not valid multipart/form-data; the text is one line."""


class Parts(Protocol):
    """Receives the parts of a body, in order."""

    def begin(self, fields: list[Field]) -> None:
        """A part begins; `fields` are its header fields, with names in lower case."""

    def data(self, piece: bytes) -> None:
        """A piece of its content, never empty."""

    def end(self) -> None:
        """The part is complete."""


class _State(Enum):
    PREAMBLE = auto()
    """Before the first boundary: ignored (RFC 2046 section 5.1.1)."""
    HEAD = auto()
    CONTENT = auto()
    EPILOGUE = auto()
    """After the close delimiter: ignored, like the preamble."""


class MultipartParser:
    """Parses one body.

    :param boundary: the boundary parameter of its content type
    :raises MultipartError: the boundary is invalid
    """

    def __init__(self, boundary: bytes, parts: Parts) -> None:
        if len(boundary) > MAX_BOUNDARY or _BOUNDARY.match(boundary) is None:
            raise MultipartError(f"a boundary must have 1 to {MAX_BOUNDARY} visible characters")
        self._delimiter = b"\r\n--" + boundary
        self._parts = parts
        self._state = _State.PREAMBLE
        # The line end before a boundary belongs to it; also the one before the body, and before empty content.
        self._buffer = bytearray(b"\r\n")
        self._no_content = 2
        """Bytes at the beginning of the buffer that are not content: such a line end."""
        self._searched = 0
        """Bytes of the buffer that were searched for the end of a head."""

    @property
    def is_complete(self) -> bool:
        """Whether the close delimiter has been read."""
        return self._state is _State.EPILOGUE

    def feed(self, piece: bytes) -> None:
        """Parse the next piece of the body.

        :raises MultipartError: it is malformed
        """
        self._buffer += piece
        while self._read_head() if self._state is _State.HEAD else self._read_content():
            pass

    def _read_content(self) -> bool:
        """Read up to the next boundary; return whether there is more to read."""
        if self._state is _State.EPILOGUE:
            self._buffer.clear()
            return False
        buffer, delimiter = self._buffer, self._delimiter
        at = 0
        while (at := buffer.find(delimiter, at)) >= 0:
            after = at + len(delimiter)
            if match := _AFTER.match(buffer, after):
                length, close = match.end() - at, match[0] == b"--"
                self._give(at)
                self._pass(length, close=close)
                return True
            if _AFTER_BEGINS.match(buffer, after):
                self._give(at)
                return False
            at = after  # it only starts like the boundary
        end = buffer.rfind(b"\r", max(0, len(buffer) - len(delimiter) + 1))
        self._give(end if end >= 0 and delimiter.startswith(buffer[end:]) else len(buffer))
        return False

    def _give(self, end: int) -> None:
        """Report the beginning of the buffer as content."""
        start = min(self._no_content, end)
        self._no_content -= start
        if self._state is _State.CONTENT and start < end:
            self._parts.data(bytes(self._buffer[start:end]))
        del self._buffer[:end]

    def _pass(self, length: int, *, close: bool) -> None:
        """Continue after a boundary, which is at the beginning of the buffer; the length includes its line end, if it
        has one.
        """
        if self._state is _State.CONTENT:
            self._parts.end()
        if close:
            self._state = _State.EPILOGUE
        else:
            self._state = _State.HEAD
            self._searched = 0
            del self._buffer[: length - 2]  # the line end may also precede an empty head

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._searched)
        if max(end, len(self._buffer) - 4 if end < 0 else 0) > MAX_PART_HEAD:
            raise MultipartError(f"the head of a part has at most {MAX_PART_HEAD} bytes")
        if end < 0:
            self._searched = max(0, len(self._buffer) - 3)
            return False
        lines = bytes(self._buffer[2:end]).split(b"\r\n") if end else []
        del self._buffer[: end + 2]
        if len(lines) > MAX_PART_FIELDS:
            raise MultipartError(f"the head of a part has at most {MAX_PART_FIELDS} fields")
        fields = []
        for line in lines:
            match = _FIELD.match(line)
            if match is None:
                raise MultipartError("a header field of a part is a name, a colon and a value, on one line")
            fields.append((match[1].lower(), match[2].rstrip(b" \t")))
        self._parts.begin(fields)
        self._state = _State.CONTENT
        self._no_content = 2
        return True


def parse_parameters(value: bytes) -> tuple[bytes, dict[bytes, bytes]] | None:
    """Return the value of a Content-Type or Content-Disposition field and its parameters; None: it is malformed.

    The value and the names are in lower case. Extended parameters of RFC 8187, such as `filename*`, are skipped: RFC
    7578 section 4.2 forbids them.
    """
    start = value.find(b";")
    if start < 0:
        return value.strip(b" \t").lower(), {}
    kind = value[:start].strip(b" \t").lower()
    parameters: dict[bytes, bytes] = {}
    while start < len(value):
        match = _PARAMETER.match(value, start)
        if match is None:
            return None
        start = match.end()
        name, quoted, raw, plain = match.groups()
        if name is None or b"*" in name:
            continue
        name = name.lower()
        if name in parameters:
            return None
        if quoted is not None:
            parameters[name] = _ESCAPED.sub(rb"\1", quoted)
        else:
            parameters[name] = raw if raw is not None else plain.rstrip(b" \t")
    return kind, parameters
