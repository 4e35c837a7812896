"""Results of requests, from the server that handled one to the server that asked. They are not stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable
from typing import Final

import msgspec

from ..events.messages import FromCarrier, Result
from .connection import Connection, Msg

__all__ = ["REPLY_TO", "Requests"]

REPLY_TO: Final = "tl-reply-to"
"""The header field with the subject that the result is sent to."""


class Answer(msgspec.Struct, array_like=True):
    """The result of a request.

    :ivar id: of the event
    """

    id: str
    data: bytes | None
    error: tuple[str, str] | None


class Requests:
    """The requests of this server, and those that it handles.

    :param tell: called with the link of who asked, and the result
    :param spawn: runs a coroutine
    """

    def __init__(
        self,
        connection: Connection,
        tell: Callable[[int, FromCarrier], None],
        spawn: Callable[[Awaitable[object]], None],
    ) -> None:
        self._connection: Final = connection
        self._tell: Final = tell
        self._spawn: Final = spawn
        self._asked: Final[dict[str, tuple[int, int]]] = {}
        self._replies: Final[dict[int, tuple[str, str]]] = {}

    def ask(self, id: str, number: int, n: int) -> None:  # noqa: A002
        """A request is published here.

        :param number: of the link of who asks
        """
        self._asked[id] = number, n

    def forget(self, number: int) -> None:
        """A link is closed."""
        for id in [id for id, (link, _) in self._asked.items() if link == number]:  # noqa: A001
            del self._asked[id]

    def handle(self, seq: int, reply_to: str, id: str) -> None:  # noqa: A002
        """A request is handled here."""
        self._replies[seq] = reply_to, id

    def drop(self, seq: int) -> None:
        """Another server handles it."""
        self._replies.pop(seq, None)

    def keep(self, held: Container[int]) -> None:
        """Forget requests that have expired.

        :param held: the events that are not settled
        """
        for seq in [seq for seq in self._replies if seq not in held]:
            del self._replies[seq]

    def answer(self, messages: Iterable[FromCarrier]) -> None:
        """Send results to who asked."""
        for message in messages:
            assert isinstance(message, Result)
            if (asked := self._replies.pop(message.n, None)) is not None:
                subject, id = asked  # noqa: A001
                data = msgspec.msgpack.encode(Answer(id, message.data, message.error))
                self._spawn(self._connection.publish(subject, data))

    def take(self, msg: Msg) -> None:
        """A result has come."""
        try:
            answer = msgspec.msgpack.decode(msg.data, type=Answer)
        except msgspec.DecodeError:
            return  # somebody else's message
        if (asked := self._asked.pop(answer.id, None)) is not None:
            self._tell(asked[0], Result(asked[1], answer.data, answer.error))
