"""A client that does what clients do, in any order: asks, in pieces too, waits, takes nothing for a while, sends what
is no request; and the server may drain. What the client gets is held against what it asked for.
"""

from __future__ import annotations

import asyncio
import logging
import re
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.http.memory import MemoryTransport
from tests.http.readings import ASKED, EXAMPLES, Counting, application, is_expected
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPSettings
from tiny_listener.http.h1.server import HTTPServer

STATUSES = {
    b"/fail": 500,
    b"/nothing?a=b": 404,
    b"*": 204,
    b"/none": 204,
    b"/response": 201,
    b"/refuse": 409,
    b"/handled": 418,
    b"/typed/7?q=x": 422,
    b"/typed/x": 404,
    b"/session/refused": 403,
    b"/session/x?n=y": 422,
    **dict.fromkeys((b"/surrogate", b"/surrogate-late", b"/base", b"/base-late", b"/changed"), 500),
}
"""What is not answered with 200, by target."""
WELL_FORMED = tuple(asked for asked in ASKED if not any(other in asked for other in (b"BREW", b"abcd\r\n", b"Expect")))
"""Those whose answer does not depend on when the rest of them comes."""
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


def status_of(asked: bytes) -> int:
    """Return the status that a well-formed request gets."""
    target = asked.split(b" ")[1]
    if target == b"/small" and (b"Length: 12" in asked or b"chunked" in asked):
        return 413
    if target.startswith(b"/body"):
        return 415  # it is no JSON
    return STATUSES.get(target, 200)


def ends(asked: bytes) -> bool:
    """Whether a well-formed request is the last of its connection."""
    return b"HTTP/1.0" in asked or status_of(asked) == 413


def read_responses(data: bytes, methods: list[bytes], *, all_of_them: bool) -> list[int]:
    """Return the statuses of responses, each framed as RFC 9112 section 6.3 has it; an unfinished last one is left.

    :param methods: of the requests, which decide how responses are framed
    :param all_of_them: whether there must be none behind those whose methods are known
    :raises AssertionError: what arrives is not a response
    """
    found: list[int] = []
    while data and (all_of_them or len(found) < len(methods)):
        match = STATUS_LINE.match(data)
        head, empty, rest = data.partition(b"\r\n\r\n")
        assert match is not None, data
        status = int(match[1])
        if not empty:
            break
        if status == 100:
            data = rest
            continue
        method = methods[len(found)] if len(found) < len(methods) else b"GET"
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if method == b"HEAD" or status == 204:
            size = 0
        elif b"\r\ntransfer-encoding: chunked" in head:
            end = re.compile(rb"(?:[1-9a-f][0-9a-f]*\r\n(?:one|two)\r\n)*0\r\n\r\n").match(rest)
            if end is None:
                break
            size = end.end()
        elif length is None:  # until the connection ends
            size = len(rest)
        else:
            size = int(length[1])
            if len(rest) < size:
                break
        found.append(status)
        data = rest[size:]
    return found


class Errors(logging.Handler):
    """Keeps what is logged, but for the handler that is made to fail."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not is_expected(record.getMessage()):
            self.texts.append(record.getMessage())


class Conversation(RuleBasedStateMachine):
    """One connection from its beginning to its end."""

    @initialize()
    def connect(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.errors = Errors()
        logging.getLogger("tiny_listener").addHandler(self.errors)
        self.expected: list[int] = []
        self.methods: list[bytes] = []
        self.is_over = self.is_broken = self.is_blocked = self.is_draining = False
        self.loop.run_until_complete(self._connect())

    async def _connect(self) -> None:
        app = application()
        app.attach(Host(observer=Counting()))
        self.server = HTTPServer(app, HTTPSettings())
        self.transport = MemoryTransport(self.server)

    def turn(self, times: int) -> None:
        async def wait() -> None:
            for _ in range(times):
                await asyncio.sleep(0)

        self.loop.run_until_complete(wait())

    def feed(self, *pieces: bytes, turns: int = 0) -> None:
        for piece in pieces:
            if piece and (not self.is_blocked or self.transport.is_reading()):
                self.loop.run_until_complete(self.transport.feed(piece))
                self.turn(turns)

    def note(self, asked: bytes) -> None:
        if not self.is_over and not self.is_broken and not self.transport.is_closing():
            self.expected.append(status_of(asked))
            self.methods.append(asked.split(b" ")[0])
            self.is_over = ends(asked)

    @precondition(lambda self: not self.is_blocked)
    @rule(asked=st.lists(st.sampled_from(WELL_FORMED), min_size=1, max_size=5))
    def ask(self, asked: list[bytes]) -> None:
        for one in asked:
            self.note(one)
        self.feed(b"".join(asked))

    @precondition(lambda self: not self.is_blocked)
    @rule(asked=st.sampled_from(WELL_FORMED), cuts=st.lists(st.integers(1, 200), max_size=5), turns=st.integers(0, 2))
    def ask_in_pieces(self, asked: bytes, cuts: list[int], turns: int) -> None:
        self.note(asked)
        borders = sorted({0, len(asked), *(cut % len(asked) for cut in cuts)})
        self.feed(*(asked[a:b] for a, b in pairwise(borders)), turns=turns)

    @precondition(lambda self: not self.is_blocked)
    @rule(data=st.binary(min_size=1, max_size=40))
    def send_what_is_no_request(self, data: bytes) -> None:
        self.is_broken = True
        self.feed(data)

    @rule(times=st.integers(1, 4))
    def wait(self, times: int) -> None:
        self.turn(times)

    @precondition(lambda self: not self.is_blocked and not self.transport.is_closing())
    @rule()
    def take_nothing(self) -> None:
        self.is_blocked = True
        self.loop.run_until_complete(self._call("pause_writing"))

    @precondition(lambda self: self.is_blocked)
    @rule()
    def take_on(self) -> None:
        self.is_blocked = False
        self.loop.run_until_complete(self._call("resume_writing"))

    async def _call(self, name: str) -> None:
        getattr(self.transport.get_protocol(), name)()

    @precondition(lambda self: not self.is_draining)
    @rule()
    def drain(self) -> None:
        self.is_draining = True

        async def begin() -> None:
            self.server.drain()

        self.loop.run_until_complete(begin())

    @invariant()
    def nothing_is_logged(self) -> None:
        if hasattr(self, "errors"):
            assert not self.errors.texts

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            if self.is_blocked:
                self.take_on()
            written = self.loop.run_until_complete(self.transport.end())
            self.nothing_is_logged()
            self.compare(written)
            assert self.server.in_flight == 0
            assert not self.server.connections
        finally:
            logging.getLogger("tiny_listener").removeHandler(self.errors)
            self.loop.run_until_complete(self._close())
            self.loop.close()

    def compare(self, written: bytes) -> None:
        statuses = read_responses(written, self.methods, all_of_them=not self.is_broken)
        if self.is_draining or self.is_broken:
            # The last answer of a drain, or a refusal, may come in place of others; what comes before is in order.
            before = statuses[: len(self.expected)][:-1]
            assert before == self.expected[: len(before)], (statuses, self.expected)
        else:
            assert statuses == self.expected, (statuses, self.expected, written)

    async def _close(self) -> None:
        self.server.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    max_examples=EXAMPLES or 100, stateful_step_count=20, deadline=None, derandomize=not EXAMPLES
)
