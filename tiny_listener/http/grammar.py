"""llhttp, as the judge of whether a head is well-formed."""

from __future__ import annotations

import httptools

from .errors import ProtocolError
from .fields import NO_FRAMING

__all__ = ["Grammar"]


class Grammar:
    """The judge of all the connections of a process: each head is shown to it whole, so the parser remembers nothing.

    llhttp calls nothing back: a callback for each field costs more than all of its judgement. What is in a head
    that it let pass is read by the expressions of `fields`; they hold for heads of its grammar only.
    """

    __slots__ = ("framing", "parser", "usual_lines")

    def __init__(self) -> None:
        self.usual_lines: list[bytes] | None = None
        """The lines of the last head whose framing was looked at, see `framing_lines`;"""
        self.framing = NO_FRAMING
        """and how they framed it."""
        self.renew()

    def renew(self) -> None:
        """Forget what was shown last: when it was not a plain request, the parser waits for a body or for nothing."""
        self.parser = httptools.HttpRequestParser(_Silence)

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
    """Wants to hear of nothing."""

    on_message_begin = on_url = on_header = on_headers_complete = on_body = None
    on_message_complete = on_chunk_header = on_chunk_complete = on_status = None
