"""Handoff: while a slot's worker does not serve, a sibling takes over the slot's accept queue.

With SO_REUSEPORT the kernel keeps queueing connections for a slot whose worker is dead, boots or is blocked. So the
supervisor hands the slot's listening sockets over to a sibling. The sibling accepts from them in addition to its own,
and hands them back once the slot has a worker that serves. The sibling has a copy: closing it closes no connection.

A worker with nothing in flight rests: it sends a heartbeat only every two seconds (see `worker.heartbeat`), so a
missing heartbeat says nothing for that long. But an event loop that is not blocked wakes up for a new connection and
accepts it at once. So a resting worker counts as blocked if connections wait at its sockets in two checks a tenth of a
second apart, without a heartbeat in between. No stall is missed that keeps a client waiting, and none that outlasts a
rest.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ..ipc.channel import ChannelClosed
from ..ipc.messages import HandBack, TakeOver
from ..worker.heartbeat import REST, STAMP
from .scaling import in_use
from .slot import Slot, Worker, WorkerState

if TYPE_CHECKING:
    import asyncio

    from ..ipc.broker import SocketBroker

__all__ = ["Handoff", "plan", "serves"]

logger = logging.getLogger("tiny_listener.supervisor")

TICK = 0.05
"""Seconds between two checks. A queue waits at most this long after a worker's death, or after
`BLOCKED_AFTER_WITH_QUEUE`."""
BLOCKED_AFTER = 0.5
"""Seconds without a heartbeat after which new connections go to a sibling. A loop sends ten heartbeats a second."""
OPEN_GRACE = 5.0
"""Seconds after ready in which new code may still open servers. After that, addresses that it does not use are closed.
"""
RETRY_TAKEOVER = 1.0
"""Seconds before sockets are handed over again to a worker that failed to take them, for want of file descriptors."""
BLOCKED_AFTER_WITH_QUEUE = 0.15
"""The same while connections or datagrams wait at the slot: one and a half heartbeats. If the worker is merely late, a
sibling gets two needless messages; no connection is lost."""
WAKE_TIME = 0.1
"""Seconds that connections may wait at a resting worker."""


def serves(worker: Worker | None, now: float, waited: float | None = None) -> bool:
    """Whether a worker accepts connections: it is ready, is not about to be killed, and its event loop is not blocked.

    :param now: on the clock of the workers' heartbeats
    :param waited: seconds that connections have been seen waiting at its sockets since its last heartbeat; None: none
        wait
    """
    if worker is None or worker.state is not WorkerState.READY or worker.kill_reason is not None:
        return False
    rest = worker.shown[REST]
    still = now - worker.shown[STAMP] - rest
    if waited is None:
        return still < BLOCKED_AFTER
    return still < BLOCKED_AFTER_WITH_QUEUE and (not rest or waited < WAKE_TIME)


def plan(
    unserved: Collection[int], siblings: Sequence[int], handovers: Mapping[int, int], unable: Collection[int] = ()
) -> dict[int, int]:
    """Return which sibling is to serve each slot's queue in addition to its own.

    :param unserved: slots whose queue is not served
    :param siblings: workers that serve
    :param handovers: slots that are handed over now, and to which sibling. These stay as they are unless one sibling
        has two more than another
    :param unable: siblings that cannot take more for now
    """
    able = [sibling for sibling in siblings if sibling not in unable]
    wanted = {slot: to for slot, to in handovers.items() if slot in unserved and to in siblings}
    load = Counter(wanted.values())
    for slot in unserved:
        if slot not in wanted and able:
            wanted[slot] = least = min(able, key=lambda sibling: load[sibling])
            load[least] += 1
    while wanted and able:
        most, least = max(siblings, key=lambda to: load[to]), min(able, key=lambda to: load[to])
        if load[most] - load[least] < 2:
            break
        wanted[max(slot for slot, to in wanted.items() if to == most)] = least
        load[most] -= 1
        load[least] += 1
    return wanted


class Handoff:
    """Hands the sockets of slots that are not served over to siblings.

    :param is_stopping: whether all workers are about to stop, so that nothing is handed over any more
    :param clock: the clock of the workers' heartbeats
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        broker: SocketBroker,
        is_stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = slots
        self._broker = broker
        self._is_stopping = is_stopping
        self._clock = clock
        self._handovers: dict[int, Worker] = {}
        self._handed_over: dict[int, list[int]] = {}
        self._since: dict[int, float] = {}
        self._waits: dict[int, tuple[float, float]] = {}
        """Slots where connections wait: the worker's last heartbeat, and when the connections were first seen."""
        self._unable: dict[int, float] = {}

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start checking."""
        self._loop = loop
        self._tick()

    def give_up_addresses(self) -> None:
        """Close the sockets of code that is gone, shortly after a reload. If that cannot be decided then, the end of
        the next reload decides.
        """
        self._loop.call_later(OPEN_GRACE, self._give_up_addresses)

    def _give_up_addresses(self) -> None:
        slots = in_use(self._slots)
        serving = [slot.worker.pid for slot in slots if slot.worker is not None and slot.is_ready]
        if len(serving) == len(slots):
            for name in self._broker.keep_only(serving):
                logger.info("Closed %s: no worker listens there any more", name)

    def _tick(self) -> None:
        self.look()
        self._loop.call_later(TICK, self._tick)

    def look(self) -> None:
        """Hand over queues that are not served; take back those that are served again."""
        now = self._clock()
        self._find_waiting(now)
        serving = {slot.number: slot.worker for slot in self._slots if self._serves(slot, now)}
        if len(serving) == len(self._slots) and not self._handovers:
            return  # the common case
        workers = {worker.pid: worker for worker in serving.values() if worker is not None}
        unserved = [slot.number for slot in self._slots if slot.number not in serving]
        handovers = {slot: worker.pid for slot, worker in self._handovers.items()}
        self._unable = {pid: until for pid, until in self._unable.items() if until > now}
        wanted = plan(unserved, list(workers), handovers, self._unable) if not self._is_stopping() else {}
        for slot, worker in list(self._handovers.items()):
            if wanted.get(slot) != worker.pid:
                self._take_back(slot, worker)
        for slot, pid in wanted.items():
            # A booting worker binds its sockets one after another: an earlier handover lacks the later ones.
            sockets = [sock.fileno() for sock in self._broker.of_slot(slot)]
            if sockets and (slot not in self._handovers or self._handed_over[slot] != sockets):
                self._hand_over(slot, workers[pid], sockets)

    def failed(self, slot: int, worker: Worker) -> None:
        """A worker failed to take sockets over: hand them to another one, or to the same one later."""
        logger.debug("Pid %d cannot take over the accept queue of slot %d", worker.pid, slot)
        self._unable[worker.pid] = self._clock() + RETRY_TAKEOVER
        if self._handovers.get(slot) is worker:
            del self._handovers[slot]
            self.look()

    def _find_waiting(self, now: float) -> None:
        before, self._waits = self._waits, {}
        for number in self._broker.waiting():
            worker = self._slots[number].worker
            if worker is not None and worker.state is WorkerState.READY:
                stamp = worker.shown[STAMP]
                known = before.get(number)
                self._waits[number] = known if known is not None and known[0] == stamp else (stamp, now)

    def _serves(self, slot: Slot, now: float) -> bool:
        worker, number = slot.worker, slot.number
        if number in self._handovers:
            # A late worker needs a new heartbeat to count as serving: a sibling has emptied its queue meanwhile.
            return serves(worker, now, 0.0) and worker is not None and worker.shown[STAMP] >= self._since[number]
        return serves(worker, now, now - self._waits[number][1] if number in self._waits else None)

    def _hand_over(self, slot: int, worker: Worker, sockets: list[int]) -> None:
        try:
            worker.channel.send_batch(TakeOver(slot), sockets)
        except (ChannelClosed, OSError):  # the next check finds it dead, or tries again
            return
        logger.debug("Pid %d takes over the accept queue of slot %d", worker.pid, slot)
        self._handovers[slot] = worker
        self._handed_over[slot] = sockets
        self._since[slot] = self._clock()

    def _take_back(self, slot: int, worker: Worker) -> None:
        try:
            if worker.state is WorkerState.READY:  # otherwise it has stopped accepting altogether
                worker.channel.send(HandBack(slot))
        except BlockingIOError:
            return
        except ChannelClosed:
            pass
        logger.debug("Pid %d hands back the accept queue of slot %d", worker.pid, slot)
        del self._handovers[slot]
