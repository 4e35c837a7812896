"""The trace that a request belongs to, from W3C Trace Context (traceparent, tracestate). Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["TraceContext", "read_trace"]

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")
"""Section 3.2.2. Versions after 00 may have more after the flags."""
SAMPLED = 0x01
MAX_STATE = 512
"""Characters of tracestate that every participant must propagate (section 3.3.1.5); a longer one is dropped."""


class TraceContext(NamedTuple):
    """The position of a request in a trace that began before it.

    :ivar trace_id: of the whole trace: 32 hexadecimal digits, in lower case
    :ivar parent_id: of the caller's span: 16 digits
    :ivar sampled: whether the caller may have recorded its span
    :ivar state: vendor data, as sent (tracestate); "" if there is none
    """

    trace_id: str
    parent_id: str
    sampled: bool
    state: str = ""


def read_trace(parents: Sequence[str], states: Sequence[str] = ()) -> TraceContext | None:
    """Return the trace in the headers of a request; None if there is none, or if the headers are invalid.

    :param parents: values of all traceparent headers: several count as none
    :param states: values of all tracestate headers, in order
    """
    match = TRACEPARENT.match(parents[0].strip(" \t")) if len(parents) == 1 else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not (trace_id.strip("0") and parent_id.strip("0")):
        return None
    state = ",".join(value for value in states if value.strip(" \t"))
    return TraceContext(trace_id, parent_id, bool(int(flags, 16) & SAMPLED), state if len(state) <= MAX_STATE else "")
