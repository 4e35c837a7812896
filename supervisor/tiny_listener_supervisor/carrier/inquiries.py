"""Questions of operators that wait for the carrier's answer."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from tiny_listener.events import questions

from .messages import AnswerPart, Parts, QuestionPart, in_parts

if TYPE_CHECKING:
    from .messages import FromCarrier, Outbox, ToCarrier

__all__ = ["Inquiries"]


class Inquiries:
    """Sends questions to a carrier, and waits for the answers.

    :param outbox: the way to the carrier
    """

    def __init__(self, outbox: Outbox[FromCarrier, ToCarrier]) -> None:
        self._outbox = outbox
        self._numbers = itertools.count(1)
        self._parts = Parts(questions.Answer)
        self._waiting: dict[int, asyncio.Future[questions.Answer]] = {}

    async def ask(self, question: questions.Question, limit: float) -> questions.Answer:
        """Return the carrier's answer; `Wrong` if none came.

        :param limit: seconds that it may take
        """
        number = next(self._numbers)
        future: asyncio.Future[questions.Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            for part in in_parts(QuestionPart, number, question):
                self._outbox.send(part)
            async with asyncio.timeout(limit):
                return await future
        except TimeoutError:
            return questions.Wrong(f"the carrier of events did not answer within {limit:g} s")
        finally:
            del self._waiting[number]

    def answered(self, part: AnswerPart) -> None:
        """A part of an answer has arrived.

        :raises msgspec.DecodeError: it is not an answer
        """
        answer, future = self._parts.add(part), self._waiting.get(part.id)
        if answer is not None and future is not None and not future.done():
            future.set_result(answer)

    def close(self) -> None:
        """The carrier is gone."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result(questions.Wrong("the carrier of events ended before it answered; try again"))
