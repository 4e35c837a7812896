"""The states of a connection and their transitions. Pure.

    IDLE ──> HEAD ──> HANDLING ──> STREAMING ──┐
     ^ ^──────────────┘  │  └────> RESPONDING ─┤──> IDLE, HEAD, BODY, HANDLING
     └───────────────────┴──────── BODY <──────┘
    any ──> CLOSING, LINGERING ──> DEAD              and any ──> DEAD

Each state defines what the connection waits for, and which timeout of `HTTPSettings` applies:

| state | waits for | limit |
|---|---|---|
| IDLE | the first byte of a request | `keep_alive_timeout` |
| HEAD | the rest of a head | `header_timeout`, from the head's first byte |
| HANDLING | the handler, or the client while the handler waits for the body | `body_timeout` |
| STREAMING | the next piece of a response, or the client to read | `write_timeout` |
| RESPONDING | a response being prepared, or the client to read | `write_timeout` |
| BODY | the rest of a body that is discarded | `body_timeout` |
| CLOSING | the client to read what was written | `write_timeout` |
| LINGERING | the client to close its side; its input is discarded | `linger_time`, `linger_timeout` |
| DEAD | nothing | |

In every state `write_timeout` limits how long the client may leave written bytes unread.
"""

from __future__ import annotations

from enum import Enum

from ...errors import ListenerError

__all__ = ["ENDED", "STEPS", "IllegalConnectionStep", "State"]


class State(Enum):
    """The state of a connection."""

    IDLE = "idle"
    HEAD = "reading a head"
    BODY = "reading a body"
    HANDLING = "handling"
    RESPONDING = "responding"
    STREAMING = "streaming"
    CLOSING = "closing"
    LINGERING = "lingering"
    DEAD = "dead"


_ENDS = frozenset({State.CLOSING, State.LINGERING, State.DEAD})
_RESTS = frozenset({State.IDLE, State.HEAD, State.BODY, State.HANDLING, State.RESPONDING})

STEPS: dict[State, frozenset[State]] = {
    State.IDLE: frozenset({State.HEAD, State.HANDLING, State.RESPONDING}) | _ENDS,
    State.HEAD: frozenset({State.IDLE, State.HANDLING, State.RESPONDING}) | _ENDS,
    State.BODY: _RESTS | _ENDS,
    State.HANDLING: _RESTS | _ENDS | {State.STREAMING},
    State.RESPONDING: _RESTS | _ENDS | {State.STREAMING},
    State.STREAMING: _RESTS | _ENDS,
    State.CLOSING: frozenset({State.DEAD}),
    State.LINGERING: frozenset({State.DEAD}),
    State.DEAD: frozenset(),
}
"""Allowed transitions by state."""
ENDED = _ENDS
"""States in which no request is accepted and nothing is written."""


class IllegalConnectionStep(ListenerError):  # noqa: N818
    """A transition that is not in the table: an internal error. It ends only that connection."""

    def __init__(self, old: State, new: State) -> None:
        super().__init__(f"a connection that is {old.value} cannot become {new.value}")
