"""What `tiny-listenerctl` and a supervisor say to each other: one line of JSON each way, then the connection ends."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from ..admin.status import Status

__all__ = [
    "ANSWER_LIMIT",
    "REQUEST_LIMIT",
    "TIME_LIMIT",
    "Answer",
    "AskStatus",
    "Denied",
    "Done",
    "Dump",
    "Reload",
    "Reloading",
    "Request",
    "Scale",
    "StopServer",
    "read_answer",
    "read_request",
    "to_line",
]

REQUEST_LIMIT = 4096
"""Bytes of a request's line."""
ANSWER_LIMIT = 4 * 2**20
"""Bytes of an answer's line: the status of 1024 workers, several times."""
TIME_LIMIT = 5.0
"""Seconds that either side waits for the other's line."""


class AskStatus(msgspec.Struct, tag=True, frozen=True):
    """Say how you are; the answer is a `Status`."""


class Reload(msgspec.Struct, tag=True, frozen=True):
    """Replace every worker, as HUP does."""


class Scale(msgspec.Struct, tag=True, frozen=True):
    """Have so many workers."""

    workers: int


class StopServer(msgspec.Struct, tag=True, frozen=True):
    """Stop, as TERM does: what is in flight finishes; or as QUIT does.

    :ivar at_once: as QUIT does
    """

    at_once: bool = False


class Dump(msgspec.Struct, tag=True, frozen=True):
    """Let every worker write its stacks, as USR2 does."""


class Done(msgspec.Struct, tag=True, frozen=True):
    """It is done, or has begun: in words."""

    text: str


class Reloading(msgspec.Struct, tag=True, frozen=True):
    """A reload has begun; `Status.reload` tells what becomes of it.

    :ivar version: that of the code which is to serve then
    """

    version: int


class Denied(msgspec.Struct, tag=True, frozen=True):
    """It is not done, and why: in one line."""

    text: str


Request: TypeAlias = AskStatus | Reload | Scale | StopServer | Dump
Answer: TypeAlias = Status | Done | Reloading | Denied

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def read_request(line: bytes) -> Request:
    """Decode a line.

    :raises msgspec.DecodeError: it is no request
    """
    return _requests.decode(line)


def read_answer(line: bytes) -> Answer:
    """Decode a line.

    :raises msgspec.DecodeError: it is no answer
    """
    return _answers.decode(line)


def to_line(message: Any) -> bytes:
    """Encode a message as one line."""
    return msgspec.json.encode(message) + b"\n"
