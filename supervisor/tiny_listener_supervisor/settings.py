"""What the supervisor, or the only process, is told by the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from .policy import Limits

__all__ = ["SupervisorSettings"]


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """How many workers, and how long they may take; times in seconds.

    :ivar reload_batch: workers that a reload replaces at a time
    :ivar reload_probation: that a new worker has to live, once it is ready, before the old one drains; 0: none
    :ivar inherited: file descriptors of listening sockets that were open before; all workers accept from each
    :ivar uds: the path of the unix socket that is to be listened at, if there is one, and its permissions, if given
    :ivar max_restarts: workers that may end unplanned within `max_restarts_window`; None: any number
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
