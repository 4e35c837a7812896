"""The keys that wait for an operator, in a bucket that all servers watch (NATS ADR-8: a stream with a last value)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from .connection import ApiError, Connection, Msg, Unavailable
from .names import Names

__all__ = ["HaltedKeys"]

IN_USE: Final = 10058


class Halt(msgspec.Struct):
    """A key that waits.

    :ivar number: of the dead letter that it waits for; None: it goes on
    """

    key: str
    number: int | None


class HaltedKeys:
    """The halted keys of all servers.

    :param ask: publishes a message with confirmation
    :param change: called with a key and the number of its letter, or None
    """

    def __init__(
        self,
        connection: Connection,
        names: Names,
        ask: Callable[[str, bytes, dict[str, str]], Awaitable[int]],
        change: Callable[[str, int | None], None],
    ) -> None:
        self._connection: Final = connection
        self._ask: Final = ask
        self._names: Final = names
        self._change: Final = change
        self._keys: Final[dict[str, int]] = {}
        self._prefix: Final = f"tlh.{names.app}."
        self._stream: Final = f"TLH_{names.app}"

    async def open(self) -> None:
        """Create the bucket if it is absent, read it, and watch it.

        :raises ApiError: it cannot be created
        :raises Unavailable: JetStream does not answer
        """
        config: dict[str, Any] = {
            "name": self._stream,
            "subjects": [f"{self._prefix}>"],
            "retention": "limits",
            "storage": "file",
            "max_msgs_per_subject": 1,
        }
        try:
            await self._connection.api(f"STREAM.CREATE.{self._stream}", config)
        except ApiError as exc:
            if exc.code != IN_USE:
                raise
        await self._connection.subscribe(f"{self._prefix}>", self._came)
        await self.read()

    async def read(self) -> None:
        """Read all of it: after a reconnect, something may have been missed."""
        seq = 0
        while True:
            try:
                asked = {"seq": seq + 1, "next_by_subj": f"{self._prefix}>"}
                answer = await self._connection.api(f"STREAM.MSG.GET.{self._stream}", asked)
            except ApiError:
                return
            message = answer["message"]
            seq = int(message["seq"])
            self._learn(msgspec.json.decode(base64.b64decode(message.get("data", "")), type=Halt))

    def by_key(self) -> dict[str, int]:
        """Return the numbers of the letters by key."""
        return dict(self._keys)

    def _came(self, msg: Msg) -> None:
        try:
            self._learn(msgspec.json.decode(msg.data, type=Halt))
        except msgspec.DecodeError:
            return  # somebody else's message

    def _learn(self, halt: Halt) -> None:
        if halt.number is None:
            self._keys.pop(halt.key, None)
        else:
            self._keys[halt.key] = halt.number
        self._change(halt.key, halt.number)

    async def put(self, key: str, number: int) -> None:
        """A key is halted."""
        await self._put(Halt(key, number))

    async def delete(self, key: str) -> None:
        """A key goes on."""
        subject = await self._put(Halt(key, None))
        with contextlib.suppress(ApiError, Unavailable):  # others have seen it: what is left of it costs some bytes
            await self._connection.api(f"STREAM.PURGE.{self._stream}", {"filter": subject})

    async def _put(self, halt: Halt) -> str:
        subject = self._prefix + hashlib.blake2b(halt.key.encode(), digest_size=16).hexdigest()
        await self._ask(subject, msgspec.json.encode(halt), {})
        self._learn(halt)
        return subject
