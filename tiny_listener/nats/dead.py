"""Dead letters: a stream of their own, and the keys that wait for an operator, in a bucket."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ..cloudevents.header_fields import decode_value, encode_value
from ..errors import CarrierError
from ..events.policy import Reason
from ..events.store.ops import DeadLetter
from .connection import ApiError, Connection, Msg, Unavailable
from .names import Names
from .wire import envelope_of, headers_of

__all__ = ["NO_MESSAGE", "DeadStream", "Foreign"]

LETTER: Final = "tl-letter"
FOREIGN: Final = "foreign"
NO_MESSAGE: Final = 10037
"""There is no message with this number, or with a later one."""
HEADER_LINE: Final = "NATS/1.0"


class Foreign(msgspec.Struct):
    """A message of the stream that is no event of ours.

    :ivar seq: its place in the stream
    :ivar why: what is wrong with it
    """

    seq: int
    subject: str
    why: str


class Sheet(msgspec.Struct):
    """What a letter says about its end. The fields are those of `DeadLetter`."""

    seq: int
    reason: Reason
    error: tuple[str, str]
    attempts: int
    crashes: int
    first_started: float | None
    died_at: float
    slot: int | None


class DeadStream:
    """The stream of the dead letters.

    :param ask: publishes a message with confirmation, and returns its place in its stream
    """

    def __init__(self, connection: Connection, names: Names, ask: Callable[[str, bytes, dict[str, str]], Any]) -> None:
        self._connection: Final = connection
        self._names: Final = names
        self._ask: Final = ask

    async def _api(self, subject: str, body: Any = None) -> dict[str, Any]:
        """See `Connection.api`.

        :raises CarrierError: JetStream does not answer
        """
        try:
            return await self._connection.api(subject, body)
        except Unavailable as exc:
            raise CarrierError(f"The dead letters on NATS cannot be read: {exc}") from None

    async def counts(self) -> dict[str, int]:
        """Return the number of letters by reason."""
        info = await self._api(f"STREAM.INFO.{self._names.dead}", {"subjects_filter": ">"})
        subjects: dict[str, int] = info["state"].get("subjects") or {}
        counts = {subject.rpartition(".")[2].replace("_", " "): number for subject, number in subjects.items()}
        counts.pop(FOREIGN, None)  # no events: they cannot be put back
        return counts

    async def last(self) -> int:
        """Return the number of the last letter."""
        info = await self._api(f"STREAM.INFO.{self._names.dead}")
        return int(info["state"]["last_seq"])

    async def keep(self, letter: DeadLetter) -> int:
        """Keep a letter. Return its number, its place in the stream."""
        fields = {name: getattr(letter, name) for name in Sheet.__struct_fields__}
        headers = headers_of(letter.envelope, self._names.app)
        headers[LETTER] = encode_value(msgspec.json.encode(fields).decode())
        headers["Nats-Msg-Id"] = f"dead-{self._names.stream}-{letter.seq}"
        subject = self._names.dead_subject(letter.reason)
        number: int = await self._ask(subject, letter.envelope.data, headers)
        return number

    async def keep_foreign(self, foreign: Foreign, msg: Msg) -> None:
        """Keep a message that is no event of ours as it is."""
        headers = {name: value for name, value in (msg.headers or {}).items() if not name.startswith("Nats-")}
        headers["tl-foreign"] = encode_value(msgspec.json.encode(foreign).decode())
        headers["Nats-Msg-Id"] = f"dead-{self._names.stream}-{foreign.seq}"
        await self._ask(self._names.dead_subject(FOREIGN), msg.data, headers)

    async def letters(
        self,
        *,
        reason: str | None = None,
        after: int = 0,
        limit: int = 100,
        id: str | None = None,  # noqa: A002
    ) -> list[DeadLetter]:
        """Return letters in the order in which they came; see `Store.dead_letters`."""
        found: list[DeadLetter] = []
        subject = self._names.dead_subjects if reason is None else self._names.dead_subject(reason)
        while len(found) < limit:
            try:
                asked = {"seq": after + 1, "next_by_subj": subject}
                answer = await self._api(f"STREAM.MSG.GET.{self._names.dead}", asked)
            except ApiError as exc:
                if exc.code != NO_MESSAGE:
                    raise CarrierError(f"The dead letters on NATS cannot be read: {exc}") from None
                break
            message = answer["message"]
            after = int(message["seq"])
            letter = _letter(message)
            if letter is not None and id in (None, letter.envelope.id):
                found.append(letter)
        return found

    async def drop(self, number: int) -> None:
        """Delete a letter."""
        try:
            await self._connection.api(f"STREAM.MSG.DELETE.{self._names.dead}", {"seq": number, "no_erase": True})
        except ApiError as exc:
            if exc.code not in (NO_MESSAGE, 10043, 10057):  # it was deleted before
                raise


def _letter(message: dict[str, Any]) -> DeadLetter | None:
    """Return the letter in a stored message; None: it is a message that was no event of ours."""
    headers = _headers(base64.b64decode(message.get("hdrs", "")).decode())
    if LETTER not in headers:
        return None
    sheet = msgspec.json.decode(decode_value(LETTER, headers[LETTER]), type=Sheet)
    envelope = envelope_of(headers, base64.b64decode(message.get("data", "")))
    fields = {name: getattr(sheet, name) for name in Sheet.__struct_fields__}
    return DeadLetter(number=int(message["seq"]), envelope=envelope, **fields)


def _headers(block: str) -> dict[str, str]:
    lines = block.removeprefix(HEADER_LINE).split("\r\n")
    fields = (line.partition(":") for line in lines if ":" in line)
    return {name: value.strip() for name, _, value in fields}
