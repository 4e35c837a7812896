"""llhttp, as the judge of whether a head is well-formed."""

from __future__ import annotations

import httptools

from .errors import ProtocolError
from .fields import NO_FRAMING

__all__ = ["Grammar"]


class Grammar:
    """The judge of all the connections of a process: each head is shown to it whole, so the parser remembers nothing.

    llhttp calls nothing back but that a request is complete: a callback for each field costs more than all of its
    judgement. What is in a head that it let pass is read by the expressions of `fields`; they hold for heads of its
    grammar only.
    """

    __slots__ = ("_listener", "framing", "parser", "unfinished", "usual_lines", "usual_start")

    def __init__(self) -> None:
        # What a reader begins with, for a new connection is often like the last; see `RequestReader`.
        self.usual_lines: list[bytes] | None = None
        self.framing = NO_FRAMING
        self.usual_start: bytes | None = None
        self.unfinished = [True]
        """Empty when the parser has seen a request to its end. Who finds it empty fills it."""
        self._listener = _Silence(self.unfinished)
        self.renew()

    def renew(self) -> None:
        """Forget what was shown last: when it was not a plain request, the parser waits for a body or for nothing."""
        self.unfinished[:] = [True]
        self.parser = httptools.HttpRequestParser(self._listener)

    def finish(self, body: bytes) -> None:
        """Let the parser see the whole body of the request whose head it was shown last."""
        # PERF: it reads over it in no time; a new parser takes longer.
        try:
            self.parser.feed_data(body)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.renew()
        else:
            if self.unfinished:
                self.renew()
            else:
                self.unfinished.append(True)

    def judge(self, head: bytes) -> None:
        """Look at a head for which the last parser raised, with a new one: the last may have been told by
        `Proxy-Connection`, which means nothing here, that no further request comes.

        :raises ProtocolError: 400, it is malformed
        """
        self.renew()
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self.renew()
        except httptools.HttpParserError as exc:
            self.renew()
            raise ProtocolError(400, f"malformed header fields ({type(exc).__name__})") from None


class _Silence:
    """Wants to hear of nothing but the end of a request."""

    on_message_begin = on_url = on_header = on_headers_complete = on_body = None
    on_chunk_header = on_chunk_complete = on_status = None

    def __init__(self, unfinished: list[bool]) -> None:
        self.on_message_complete = unfinished.clear  # PERF: no Python frame
