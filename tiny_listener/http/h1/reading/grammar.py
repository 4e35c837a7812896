"""llhttp decides whether a head is well-formed."""

from __future__ import annotations

import httptools

from ...errors import ProtocolError
from .fields import NO_FRAMING

__all__ = ["Grammar"]


class Grammar:
    """Validates heads with llhttp. All connections of a process share it; each head is passed to it as a whole.

    Isolation: nothing that one head leaves behind in llhttp affects the next. llhttp is between two messages exactly
    while `open_message` is empty. Code that passes it a head first marks the message as open; llhttp itself clears the
    mark at its end. Code that finds a message open (its head was rejected after llhttp consumed it, its body never
    came, an exception occurred in between) starts with a new parser. A head that a used parser rejects is validated
    again by a new one, so a used parser can never be stricter; it is never within a message, so it can never be laxer.

    The only callback is for the end of a message: a callback for each field costs more than all of the validation. The
    regular expressions of `fields` parse a head that llhttp accepted; they are only correct for heads of its grammar.
    """

    __slots__ = ("_listener", "framing", "open_message", "parser", "usual_lines", "usual_start")

    def __init__(self) -> None:
        # Initial values of a reader, because a new connection is often like the last; see `RequestReader`.
        self.usual_lines: list[bytes] | None = None
        self.framing = NO_FRAMING
        self.usual_start: bytes | None = None
        self.open_message: list[bool] = []
        """Not empty while the parser is within a message."""
        self._listener = _Silence(self.open_message)
        self.renew()

    def renew(self) -> None:
        """Use a new parser."""
        self.open_message.clear()
        self.parser = httptools.HttpRequestParser(self._listener)

    def finish(self, body: bytes) -> None:
        """Pass the parser the whole body of the message whose head it saw last."""
        # PERF: it skips a body in no time; a new parser takes longer.
        try:
            self.parser.feed_data(body)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.renew()

    def judge(self, head: bytes) -> None:
        """Validate a head again with a new parser, after the last parser raised. That one may have seen `Connection:
        close` or `Proxy-Connection`, which means nothing here, and expect no further request.

        :raises ProtocolError: 400, it is malformed
        """
        self.renew()
        self.open_message.append(True)
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self.renew()
            self.open_message.append(True)  # llhttp ignores a body then: the fields say whether there is one
        except httptools.HttpParserError as exc:
            self.renew()
            raise ProtocolError(400, f"malformed header fields ({type(exc).__name__})") from None


class _Silence:
    """Ignores everything but the end of a message."""

    on_message_begin = on_url = on_header = on_headers_complete = on_body = None
    on_chunk_header = on_chunk_complete = on_status = None

    def __init__(self, open_message: list[bool]) -> None:
        self.on_message_complete = open_message.clear  # PERF: no Python frame
