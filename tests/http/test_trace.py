"""W3C Trace Context: what names a trace, and what does not."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.http.helpers import serving
from tiny_listener.http.trace import MAX_STATE, TraceContext, read_trace

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("parents", "sampled"),
    [
        ([VALID], True),
        ([f" {VALID}\t"], True),
        ([f"00-{TRACE}-{PARENT}-00"], False),
        ([f"00-{TRACE}-{PARENT}-fe"], False),  # other flags are not ours to understand
        ([f"cc-{TRACE}-{PARENT}-01-what-comes-later"], True),  # a later version, read as far as it is this one
        ([f"cc-{TRACE}-{PARENT}-01"], True),
        ([f"cc-{TRACE}-{PARENT}-01-"], True),
    ],
)
def test_a_trace_is_read(parents: list[str], sampled: bool) -> None:
    assert read_trace(parents) == TraceContext(TRACE, PARENT, sampled)


@pytest.mark.parametrize(
    "parents",
    [
        [],
        [VALID, VALID],
        [""],
        [f"00-{TRACE}-{PARENT}"],
        [f"00-{TRACE}-{PARENT}-1"],
        [f"00-{TRACE}-{PARENT}-01-more"],
        [f"cc-{TRACE}-{PARENT}-01.more"],
        [f"cc-{TRACE}-{PARENT}-011"],
        [f"ff-{TRACE}-{PARENT}-01"],
        [f"00-{'0' * 32}-{PARENT}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [VALID.upper()],
        [f"00-{TRACE[:-1]}g-{PARENT}-01"],
        [VALID + "\n"],
        [f"00-{TRACE}-{PARENT}-\u0660\u0661"],
    ],
)
def test_what_breaks_the_rules_names_no_trace(parents: list[str]) -> None:
    assert read_trace(parents) is None


def test_the_state_is_joined_and_bounded() -> None:
    trace = read_trace([VALID], ["a=1", "", "b=2"])
    assert trace is not None
    assert trace.state == "a=1,b=2"
    for size, kept in ((MAX_STATE, MAX_STATE), (MAX_STATE + 1, 0)):
        trace = read_trace([VALID], ["x" * size])
        assert trace is not None
        assert len(trace.state) == kept
    assert read_trace(["nonsense"], ["a=1"]) is None


def test_handlers_and_the_access_log_see_it(runner: asyncio.Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(access_log=True) as server:
            client = await server.connect()
            head = b"GET / HTTP/1.1\r\nHost: x\r\n"
            await client.ask(head + f"Traceparent: {VALID}\r\nTracestate: a=1\r\n\r\n".encode())
            await client.ask(head + b"traceparent: nonsense\r\n\r\n")

    with caplog.at_level(logging.INFO, "tiny_listener.access"):
        runner.run(main())
    first, second = (vars(record) for record in caplog.records)
    assert (first["trace_id"], first["parent_id"]) == (TRACE, PARENT)
    assert "trace_id" not in second
