"""Names of streams, subjects and consumers. Pure."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Collection
from typing import Final, NamedTuple

__all__ = [
    "Names",
    "Owned",
    "Position",
    "host_token",
    "owner_of",
    "position_of",
]

NOT_IN_A_TOKEN: Final = re.compile(r"[^A-Za-z0-9_-]+")
CONSUMER: Final = re.compile(r"k(\d+)_([0-9a-z]+)_([A-Za-z0-9-]+)")
ACK: Final = "$JS.ACK."
V1, V2 = 9, 11
"""Tokens of the reply subject of a message: `$JS.ACK.STREAM.CONSUMER...`, or with domain and account before them."""


class Owned(NamedTuple):
    """What the name of a consumer says.

    :ivar host: the token of the server that created it
    """

    partition: int
    epoch: str
    host: str


class Names:
    """The names of an application's objects.

    :param app: `[a-z0-9_-]{1,32}`
    :ivar stream: of the events
    :ivar dead: the stream of the dead letters
    :ivar later_stream: that of the events that are published for later. It is one of its own, because a stream with
        schedules cannot refuse what it has no room for: it would drop the oldest
    :ivar members: the subject of heartbeats
    """

    def __init__(self, app: str) -> None:
        self.app: Final = app
        self.stream: Final = f"TL_{app}"
        self.dead: Final = f"TLD_{app}"
        self.later_stream: Final = f"TLL_{app}"
        self.members: Final = f"tlm.{app}"
        self._prefix: Final = f"tl.{app}."

    @property
    def subjects(self) -> str:
        """Those of the stream of the events."""
        return self._prefix + ">"

    @property
    def dead_subjects(self) -> str:
        """Those of the stream of the dead letters."""
        return f"tld.{self.app}.>"

    def subject(self, partition: int, route: str) -> str:
        """Return the subject of an event. It has its route, not its path: a server has an index of all subjects.

        :param route: the pattern
        """
        return f"{self._prefix}k{partition}.{_token(route)}"

    def filter(self, partition: int) -> str:
        """Return the filter of the consumer of a partition."""
        return f"{self._prefix}k{partition}.>"

    def later(self, id: str) -> str:  # noqa: A002
        """Return the subject of an event that is published for later.

        :param id: of the event
        """
        return f"tll.{self.app}.later.{hashlib.blake2b(id.encode(), digest_size=12).hexdigest()}"

    @property
    def due(self) -> str:
        """The subject on which such an event comes back when it has fallen due."""
        return f"tll.{self.app}.due"

    @property
    def later_subjects(self) -> str:
        """Those of the stream of the events for later."""
        return f"tll.{self.app}.>"

    def dead_subject(self, reason: str) -> str:
        """Return the subject of a dead letter."""
        return f"tld.{self.app}.{_token(reason)}"

    def inbox(self, host: str) -> str:
        """Return the subject of results for the requests of a server."""
        return f"tlr.{self.app}.{host}"

    @staticmethod
    def consumer(partition: int, epoch: str, host: str) -> str:
        """Return the name of a consumer of a partition. No name is used twice.

        :param host: the token of the server that creates it
        """
        return f"k{partition}_{epoch}_{host}"

    @staticmethod
    def owned(consumer: str) -> Owned | None:
        """Return what the name of a consumer says; None: it is none of ours."""
        found = CONSUMER.fullmatch(consumer)
        return None if found is None else Owned(int(found[1]), found[2], found[3])


def _token(text: str) -> str:
    return NOT_IN_A_TOKEN.sub("_", text).strip("_")[:64] or "_"


def host_token(host: str) -> str:
    """Return the name of a server as a part of names: readable, and never that of another one."""
    readable = NOT_IN_A_TOKEN.sub("-", host).replace("_", "-")[:40]
    return f"{readable}-{zlib.crc32(host.encode()):08x}"


def owner_of(partition: int, hosts: Collection[str]) -> str | None:
    """Return the server that should own a partition, by rendezvous hashing; None: there is no server."""
    return max(hosts, key=lambda host: _weight(host, partition), default=None)


def _weight(host: str, partition: int) -> bytes:
    return hashlib.blake2b(f"{partition} {host}".encode(), digest_size=8).digest()


class Position(NamedTuple):
    """Where a message stands.

    :ivar seq: in the stream
    """

    stream: str
    consumer: str
    delivered: int
    seq: int


def position_of(reply: str) -> Position:
    """Return what the reply subject of a message of a consumer says.

    :raises ValueError: it is none
    """
    tokens = reply.split(".")
    if not reply.startswith(ACK) or (len(tokens) != V1 and len(tokens) < V2):
        raise ValueError(f"{reply[:200]!r} is no reply subject of a consumer")
    at = 2 if len(tokens) == V1 else 4
    return Position(tokens[at], tokens[at + 1], int(tokens[at + 2]), int(tokens[at + 3]))
