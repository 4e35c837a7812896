"""Messages between `tiny-listenerctl` and a supervisor: one line of JSON each way, then the connection is closed."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from tiny_listener.events import questions

from ..admin.status import Status

__all__ = [
    "ANSWER_LIMIT",
    "REQUEST_LIMIT",
    "TIME_LIMIT",
    "Answer",
    "AskEvents",
    "AskStatus",
    "ControlRequest",
    "Denied",
    "Done",
    "Dump",
    "EventsAnswer",
    "Reload",
    "Reloading",
    "Scale",
    "StopServer",
    "read_answer",
    "read_request",
    "to_line",
]

REQUEST_LIMIT = 2**20
"""Bytes of a request line: room for one published event, as JSON."""
ANSWER_LIMIT = 4 * 2**20
"""Bytes of an answer line: several times the status of 1024 workers."""
TIME_LIMIT = 5.0
"""Seconds that either side waits for the other's line."""


class AskStatus(msgspec.Struct, tag=True, frozen=True):
    """Request the status; the answer is a `Status`."""


class Reload(msgspec.Struct, tag=True, frozen=True):
    """Replace every worker, as HUP does."""


class Scale(msgspec.Struct, tag=True, frozen=True):
    """Set the number of workers."""

    workers: int


class StopServer(msgspec.Struct, tag=True, frozen=True):
    """Stop. What is in flight finishes, as with TERM; with `at_once` it does not, as with QUIT.

    :ivar at_once: kill the workers
    """

    at_once: bool = False


class Dump(msgspec.Struct, tag=True, frozen=True):
    """Make every worker write its stacks, as USR2 does."""


class AskEvents(msgspec.Struct, tag=True, frozen=True):
    """Ask the carrier of published events; the answer is an `EventsAnswer`."""

    question: questions.Question


class EventsAnswer(msgspec.Struct, tag=True, frozen=True):
    """What the carrier of published events answered."""

    answer: questions.Answer


class Done(msgspec.Struct, tag=True, frozen=True):
    """The request is done, or has started: in words."""

    text: str


class Reloading(msgspec.Struct, tag=True, frozen=True):
    """A reload has started; `Status.reload` reports its outcome.

    :ivar version: the version of the code that is to serve when it is done
    """

    version: int


class Denied(msgspec.Struct, tag=True, frozen=True):
    """The request was refused, and why: in one line."""

    text: str


ControlRequest: TypeAlias = AskStatus | Reload | Scale | StopServer | Dump | AskEvents
Answer: TypeAlias = Status | Done | Reloading | Denied | EventsAnswer

_requests: msgspec.json.Decoder[ControlRequest] = msgspec.json.Decoder(ControlRequest)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def read_request(line: bytes) -> ControlRequest:
    """Decode a line.

    :raises msgspec.DecodeError: it is not a request
    """
    return _requests.decode(line)


def read_answer(line: bytes) -> Answer:
    """Decode a line.

    :raises msgspec.DecodeError: it is not an answer
    """
    return _answers.decode(line)


def to_line(message: Any) -> bytes:
    """Encode a message as one line."""
    return msgspec.json.encode(message) + b"\n"
