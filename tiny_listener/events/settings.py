"""Settings of published events: where they are stored, and the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .envelope import MAX_EVENT, PARTITIONS

__all__ = ["EventSettings", "Limits", "NatsSettings"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the engine.

    :ivar max_events: events that wait or are in flight
    :ivar max_bytes: bytes of these
    :ivar max_event: bytes of one
    :ivar dedup_window: seconds that an id is remembered
    :ivar max_crashes: how many workers an event may kill before it is given up: alone, or as the one that was started
        last of several with which a worker had died before
    :ivar alone_after: seconds that an event, with which a worker died, waits at most until nothing else is in flight
    :ivar alone_for: seconds for which nothing else is started beside it
    :ivar unroutable_grace: seconds that an event waits for a worker whose routes it matches, as in a rolling deploy
    :ivar successor_wait: seconds that the keys of a dead worker wait for the successor in its slot
    :ivar lease: seconds that a restarted carrier waits for workers to say what they have in flight
    :ivar partitions: partitions of the keys, fixed when a store is created
    :ivar confirm_within: seconds within which a worker is told what is settled. It needs to know only to forget it, and
        a message of its own costs more than the settling
    """

    max_events: int = 100_000
    max_bytes: int = 256 * 1024 * 1024
    max_event: int = MAX_EVENT
    dedup_window: float = 120.0
    max_crashes: int = 3
    alone_after: float = 10.0
    alone_for: float = 60.0
    unroutable_grace: float = 60.0
    successor_wait: float = 1.0
    lease: float = 10.0
    partitions: int = PARTITIONS
    confirm_within: float = 0.05


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """A NATS server, or a cluster of them, whose JetStream stores the events of several servers.

    Secrets are in files: a command line and an environment can be read by others.

    :ivar servers: URLs, such as `nats://10.0.0.1:4222`
    :ivar app: the name of the application, `[a-z0-9_-]{1,32}`; servers with the same name share its events
    :ivar host: the name of this server, which no other one has, and which it keeps when it is started again
    :ivar replicas: of the streams, when they are created
    :ivar credentials: file with a JWT and an NKey
    :ivar nkey: file with the seed of an NKey
    :ivar user: its password is in `password_file`
    :ivar token_file: file with a token
    :ivar tls_ca: file with the certificates to trust; None: those of the system
    :ivar tls_cert: file with our certificate
    :ivar tls_key: file with its key
    :ivar inbox_prefix: of the subjects for answers
    """

    servers: tuple[str, ...]
    app: str
    host: str
    replicas: int = 1
    credentials: str | None = None
    nkey: str | None = None
    user: str | None = None
    password_file: str | None = None
    token_file: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    inbox_prefix: str = "_INBOX"


@dataclass(frozen=True, slots=True)
class EventSettings:
    """Where published events are stored, and how many.

    :ivar folder: of the SQLite database; None: in memory, or on NATS
    :ivar sync: `normal` survives the death of every process, `full` also a power cut
    :ivar concurrency: events in flight at one worker
    :ivar nats: where JetStream stores them; None: they do not leave the machine
    """

    folder: str | None = None
    sync: Literal["normal", "full"] = "normal"
    concurrency: int = 100
    limits: Limits = Limits()
    nats: NatsSettings | None = None
