"""Settings that the command line passes to the supervisor, or to the single process."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .policy import Limits

__all__ = ["CarrierStart", "SupervisorSettings"]


class CarrierStart(Enum):
    """When the carrier of published events is started."""

    WHEN_NEEDED = "when needed"
    """With the first worker that needs it."""
    AT_THE_START = "at the start"
    """With the server: events of an earlier run may wait."""
    REQUIRED = "required"
    """With the server, which does not start without it."""


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """The number of workers and their timeouts, in seconds.

    :ivar reload_batch: number of workers that a reload replaces at the same time
    :ivar reload_probation: seconds that a ready worker must survive before the old worker drains; 0: no probation
    :ivar inherited: file descriptors of listening sockets that were open at the start; every worker accepts from each
    :ivar uds: path and permissions of the unix socket to listen on; each is None if not given
    :ivar carrier: when the carrier of published events is started
    :ivar max_restarts: number of workers that may end unexpectedly within `max_restarts_window`; None: no limit
    """

    workers: int
    reload_batch: int = 1
    reload_probation: float = 1.0
    graceful_timeout: float = 30.0
    boot_timeout: float = 60.0
    hang_timeout: float = 30.0
    drain_delay: float = 0.0
    limits: Limits = field(default_factory=Limits)
    max_restarts: int | None = None
    max_restarts_window: float = 60.0
    inherited: tuple[int, ...] = ()
    uds: tuple[str | None, int | None] = (None, None)
    carrier: CarrierStart = CarrierStart.WHEN_NEEDED
