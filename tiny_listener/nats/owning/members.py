"""Which servers there are: each tells the others that it lives. Pure.

Wrong membership costs time, not order: the NATS server admits one consumer for a partition, whatever servers think of
each other.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["BEAT", "LEASE", "Heartbeat", "Members"]

BEAT: Final = 2.0
"""Seconds between heartbeats."""
LEASE: Final = 10.0
"""Seconds of silence after which a server is taken to be dead."""


class Heartbeat(msgspec.Struct):
    """What a server tells the others.

    :ivar host: its name, as a token
    :ivar instance: of its carrier, another one after each start
    :ivar leaves: whether this is its last one
    """

    host: str
    instance: str
    leaves: bool = False


class Members:
    """The servers that were heard, each by our own clock since then: clocks are not compared.

    :param host: our name
    :param instance: ours
    :param now: (monotonic) the time
    """

    def __init__(self, host: str, instance: str, now: float) -> None:
        self.host: Final = host
        self.instance: Final = instance
        self._heard: Final[dict[str, float]] = {}
        self._instances: Final[dict[str, str]] = {}
        self._since = now
        self.namesake: str | None = None
        """The instance of another server that has our name."""

    def hear(self, beat: Heartbeat, now: float) -> bool:
        """Take a heartbeat. Return whether it comes from somebody new, who is to be told of us."""
        if beat.host == self.host:
            is_new = beat.instance not in (self.instance, self._instances.get(beat.host))
            if is_new and not beat.leaves:
                self._instances[beat.host] = self.namesake = beat.instance
            return is_new
        if beat.leaves:
            self._heard.pop(beat.host, None)
            return False
        is_new = self._instances.get(beat.host) != beat.instance or beat.host not in self._heard
        self._heard[beat.host] = now
        self._instances[beat.host] = beat.instance
        return is_new

    def alive(self, now: float) -> frozenset[str]:
        """Return the servers that live, with us."""
        return frozenset({self.host, *(host for host, at in self._heard.items() if now - at < LEASE)})

    def is_dead(self, host: str, now: float) -> bool:
        """Whether a server is known to be dead: it was silent, in our hearing, for the lease."""
        return now - max(self._heard.get(host, self._since), self._since) >= LEASE

    def was_deaf(self, now: float) -> None:
        """We could not hear for a while: nobody is dead because of that."""
        self._since = now
