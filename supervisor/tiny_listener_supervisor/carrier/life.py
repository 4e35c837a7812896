"""The state table of the carrier, and its process as the supervisor sees it."""

from __future__ import annotations

import mmap
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from ..worker.heartbeat import STAMP
from ..worker.stacks import stacks_memory
from .messages import carrier_channel_pair
from .process import CarrierPlan, CarrierTerms, carrier_main

if TYPE_CHECKING:
    import asyncio

    from ..fleet.forking import Forker
    from ..ipc.channel import Channel
    from .messages import FromCarrier, ToCarrier

__all__ = ["STEPS", "CarrierProcess", "CarrierState", "IllegalCarrierStep", "fork_carrier"]


class CarrierState(Enum):
    """The state of the carrier."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    DEAD = "dead"


STEPS: dict[CarrierState, dict[CarrierState, str]] = {
    CarrierState.ABSENT: {
        CarrierState.STARTING: "it is needed",
    },
    CarrierState.STARTING: {
        CarrierState.READY: "it says that its store is open",
        CarrierState.STOPPING: "it is told to stop",
        CarrierState.DEAD: "it exits",
    },
    CarrierState.READY: {
        CarrierState.STOPPING: "it is told to stop",
        CarrierState.DEAD: "it exits",
    },
    CarrierState.STOPPING: {
        CarrierState.DEAD: "it exits",
    },
    CarrierState.DEAD: {
        CarrierState.STARTING: "it is started again",
    },
}
"""The allowed transitions, and what causes each."""


class IllegalCarrierStep(Exception):  # noqa: N818
    """A transition that the state table does not allow."""

    def __init__(self, old: CarrierState, new: CarrierState) -> None:
        super().__init__(f"a carrier that is {old.value} cannot become {new.value}")


@dataclass(slots=True, eq=False)
class CarrierProcess:
    """A carrier that runs.

    :ivar process: its handle
    :ivar channel: the supervisor's end of the channel to it
    :ivar shown: shared memory with its heartbeat
    :ivar stacks: file descriptor of the memory that it writes its stacks to; -1: none
    :ivar started: when it was forked, on the monotonic clock
    :ivar failure: why it cannot open its store, as it reported
    :ivar kill_reason: why the supervisor killed it, for the log
    :ivar timers: checks that are scheduled while it lives
    """

    process: Any
    pid: int
    channel: Channel[FromCarrier, ToCarrier]
    shown: memoryview[float]
    stacks: int
    started: float
    failure: str | None = None
    kill_reason: str | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def release(self) -> None:
        """Release the resources of a dead carrier."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        self.channel.close()
        self.shown.release()
        if self.stacks >= 0:
            os.close(self.stacks)
            self.stacks = -1
        self.process.close()


def fork_carrier(forker: Forker, plan: CarrierPlan) -> CarrierProcess:
    """Fork a carrier.

    :raises OSError: the system is out of processes, memory or file descriptors
    """
    with ExitStack() as undo:
        ours, theirs = carrier_channel_pair()
        undo.callback(ours.close)
        undo.callback(theirs.close)
        stacks = stacks_memory("carrier")
        undo.callback(os.close, stacks)
        shown = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        started = shown[STAMP] = time.monotonic()
        terms = CarrierTerms(theirs, forker.kept_fds, os.getpid(), shown, stacks)
        process = forker.start(carrier_main, "carrier", plan, terms)
        undo.pop_all()
    theirs.close()
    return CarrierProcess(process, process.pid, ours, shown, stacks, started)
