"""The life of a connection, as a table of named states. Pure.

    IDLE ──> HEAD ──> HANDLING ──> STREAMING ──┐
     ^ ^──────────────┘  │  └────> RESPONDING ─┤──> IDLE, HEAD, BODY, HANDLING
     └───────────────────┴──────── BODY <──────┘
    any ──> CLOSING, LINGERING ──> DEAD              and any ──> DEAD

Each state says what the connection waits for, and so which limit of time holds (`HTTPSettings`):

| state | waits for | limit |
|---|---|---|
| IDLE | the first byte of a request | `keep_alive_timeout` |
| HEAD | the rest of a head | `header_timeout`, from the head's first byte |
| HANDLING | the handler; while that waits for its body, the client | `body_timeout` |
| STREAMING | the next piece of a response; or the client, which takes none | `write_timeout` |
| RESPONDING | a response that is being prepared; or the client, which takes nothing | `write_timeout` |
| BODY | the rest of a body that nobody wants any more | `body_timeout` |
| CLOSING | the client, to take what is written | `write_timeout` |
| LINGERING | the client, to end its side; what it sends is discarded | `linger_time`, `linger_timeout` |
| DEAD | nothing | |

In each state bytes that were written and that the client does not take are limited by `write_timeout`.
"""

from __future__ import annotations

from enum import Enum

from ...errors import ListenerError

__all__ = ["ENDED", "STEPS", "IllegalConnectionStep", "State"]


class State(Enum):
    """Where a connection is in its life."""

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
"""To which states each may go on."""
ENDED = _ENDS
"""States in which no request is taken in any more and nothing is written."""


class IllegalConnectionStep(ListenerError):  # noqa: N818
    """A step that the table does not have: a fault of the server. It ends that connection, and no other."""

    def __init__(self, old: State, new: State) -> None:
        super().__init__(f"a connection that is {old.value} cannot become {new.value}")
