"""llhttp, as the judge of whether a head is well-formed."""

from __future__ import annotations

import httptools

from ...errors import ProtocolError
from .fields import NO_FRAMING

__all__ = ["Grammar"]


class Grammar:
    """The judge of heads, shared by all connections of a process: each head is shown to it whole.

    The wall: nothing that one head leaves behind in llhttp is there when the next is judged. llhttp stands between two
    messages exactly while `open_message` is empty. Code that shows it a head first marks the message as open; llhttp
    itself clears the mark at its end. Code that finds a message open (its head was refused after llhttp took it, its
    body never came, an exception came in between) begins with a new parser. What a used parser refuses is judged
    again by a new one, so a used parser can never be stricter; it is never within a message, so it can never be laxer.

    llhttp calls nothing back but that a message is complete: a callback for each field costs more than all of its
    judgement. What is in a head that it let pass is read by the expressions of `fields`; they hold for heads of its
    grammar only.
    """

    __slots__ = ("_listener", "framing", "open_message", "parser", "usual_lines", "usual_start")

    def __init__(self) -> None:
        # What a reader begins with, for a new connection is often like the last; see `RequestReader`.
        self.usual_lines: list[bytes] | None = None
        self.framing = NO_FRAMING
        self.usual_start: bytes | None = None
        self.open_message: list[bool] = []
        """Not empty while the parser is within a message."""
        self._listener = _Silence(self.open_message)
        self.renew()

    def renew(self) -> None:
        """Take a new parser."""
        self.open_message.clear()
        self.parser = httptools.HttpRequestParser(self._listener)

    def finish(self, body: bytes) -> None:
        """Let the parser see the whole body of the message whose head it was shown last."""
        # PERF: it skips a body in no time; a new parser takes longer.
        try:
            self.parser.feed_data(body)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.renew()

    def judge(self, head: bytes) -> None:
        """Look at a head for which the last parser raised, with a new one: the last may have been told by
        `Connection: close` or `Proxy-Connection`, which means nothing here, that no further request comes.

        :raises ProtocolError: 400, it is malformed
        """
        self.renew()
        self.open_message.append(True)
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self.renew()
            self.open_message.append(True)  # llhttp looks at no body then: the fields say whether there is one
        except httptools.HttpParserError as exc:
            self.renew()
            raise ProtocolError(400, f"malformed header fields ({type(exc).__name__})") from None


class _Silence:
    """Wants to hear of nothing but the end of a message."""

    on_message_begin = on_url = on_header = on_headers_complete = on_body = None
    on_chunk_header = on_chunk_complete = on_status = None

    def __init__(self, open_message: list[bool]) -> None:
        self.on_message_complete = open_message.clear  # PERF: no Python frame
