"""Lending: the queue of a slot whose worker does not serve is served by a sibling meanwhile.

The kernel goes on putting connections into the queue of a slot whose worker is dead, boots, or is blocked
(SO_REUSEPORT knows nothing of that). So a sibling is lent the slot's sockets, accepts from them beside its own,
and gives them back when the slot has a worker that serves. A lent socket is a copy: closing it ends nothing.

A worker that has nothing in flight rests, and stamps every two seconds (see `pulse`): its stamp tells nothing for as
long. But a loop that turns wakes for whoever comes, and takes them in at once. So where somebody waits at such a
worker's sockets in looks that are a tenth of a second apart, and it has not stamped meanwhile, it is blocked: no
stall is missed for which anybody waits, and none that lasts longer than a rest.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ..ipc.channel import ChannelClosed
from ..ipc.messages import GiveBack, Lend
from ..worker.heartbeat import REST, STAMP
from .scaling import in_use
from .slot import Slot, State, Worker

if TYPE_CHECKING:
    import asyncio

    from ..ipc.broker import SocketBroker

__all__ = ["Lender", "plan", "serves"]

logger = logging.getLogger("tiny_listener.supervisor")

TICK = 0.05
"""Seconds between two looks: a queue waits at most this long, after a worker's end is known or `KEEPS_WAITING`."""
STANDS_STILL = 0.5
"""Seconds without a stamp, of which a loop makes ten a second, after which new connections go to a sibling."""
OPENS_LATE = 5.0
"""Seconds in which new code may still open servers after it said that it is ready; then the others are given up."""
RETRY_AFTER = 1.0
"""Seconds for which nothing more is lent to a worker that could not take a loan, for want of file descriptors."""
KEEPS_WAITING = 0.15
"""The same where connections or datagrams wait at the slot: one stamp and a half. For whoever is only late a sibling is
told twice for nothing; no connection is lost by it."""
WAKES = 0.1
"""Seconds for which somebody may wait at a worker that rests."""


def serves(worker: Worker | None, now: float, waited: float | None = None) -> bool:
    """Whether a worker accepts connections: it is ready, nobody is about to kill it, and its loop turns.

    :param now: on the clock of the worker's stamps
    :param waited: the seconds for which somebody waits at its sockets since its last stamp, as far as was seen; None:
        nobody does
    """
    if worker is None or worker.state is not State.READY or worker.fate is not None:
        return False
    rest = worker.shown[REST]
    still = now - worker.shown[STAMP] - rest
    if waited is None:
        return still < STANDS_STILL
    return still < KEEPS_WAITING and (not rest or waited < WAKES)


def plan(
    unserved: Collection[int], siblings: Sequence[int], loans: Mapping[int, int], unable: Collection[int] = ()
) -> dict[int, int]:
    """Return who shall serve each slot's queue beside its own.

    :param unserved: slots whose queue nobody serves
    :param siblings: workers that serve
    :param loans: the slots that are lent now, and to whom: what can stay as it is, stays, unless a sibling has two
        more than another
    :param unable: siblings that are lent nothing more for now
    """
    able = [sibling for sibling in siblings if sibling not in unable]
    wanted = {slot: to for slot, to in loans.items() if slot in unserved and to in siblings}
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


class Lender:
    """Lends the sockets of slots that nobody serves.

    :param is_stopping: whether all workers are about to go, so that nothing is lent any more
    :param clock: that of the workers' stamps
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
        self._loans: dict[int, Worker] = {}
        self._lent: dict[int, list[int]] = {}
        self._lent_at: dict[int, float] = {}
        self._waits: dict[int, tuple[float, float]] = {}
        """Where somebody waits: the worker's stamp, and when that was first seen."""
        self._unable: dict[int, float] = {}

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look."""
        self._loop = loop
        self._tick()

    def give_up_addresses(self) -> None:
        """Close the sockets of code that is gone, a moment after a reload; or at the next one's end, where that cannot
        be told then.
        """
        self._loop.call_later(OPENS_LATE, self._give_up_addresses)

    def _give_up_addresses(self) -> None:
        slots = in_use(self._slots)
        serving = [slot.worker.pid for slot in slots if slot.worker is not None and slot.is_ready]
        if len(serving) == len(slots):
            for name in self._broker.keep_only(serving):
                logger.info("No code listens on %s any more: it is closed", name)

    def _tick(self) -> None:
        self.look()
        self._loop.call_later(TICK, self._tick)

    def look(self) -> None:
        """Lend what nobody serves, and take back what somebody does."""
        now = self._clock()
        self._see_who_waits(now)
        serving = {slot.number: slot.worker for slot in self._slots if self._serves(slot, now)}
        if len(serving) == len(self._slots) and not self._loans:
            return  # as nearly always
        workers = {worker.pid: worker for worker in serving.values() if worker is not None}
        unserved = [slot.number for slot in self._slots if slot.number not in serving]
        loans = {slot: worker.pid for slot, worker in self._loans.items()}
        self._unable = {pid: until for pid, until in self._unable.items() if until > now}
        wanted = plan(unserved, list(workers), loans, self._unable) if not self._is_stopping() else {}
        for slot, worker in list(self._loans.items()):
            if wanted.get(slot) != worker.pid:
                self._take_back(slot, worker)
        for slot, pid in wanted.items():
            # A worker that boots binds its sockets one after another: a loan of then lacks those that came later.
            sockets = [sock.fileno() for sock in self._broker.of_slot(slot)]
            if sockets and (slot not in self._loans or self._lent[slot] != sockets):
                self._lend(slot, workers[pid], sockets)

    def failed(self, slot: int, worker: Worker) -> None:
        """A worker could not take what it was lent: another is lent it, or the same one later."""
        logger.debug("Pid %d cannot take new connections of slot %d", worker.pid, slot)
        self._unable[worker.pid] = self._clock() + RETRY_AFTER
        if self._loans.get(slot) is worker:
            del self._loans[slot]
            self.look()

    def _see_who_waits(self, now: float) -> None:
        before, self._waits = self._waits, {}
        for number in self._broker.waiting():
            worker = self._slots[number].worker
            if worker is not None and worker.state is State.READY:
                stamp = worker.shown[STAMP]
                known = before.get(number)
                self._waits[number] = known if known is not None and known[0] == stamp else (stamp, now)

    def _serves(self, slot: Slot, now: float) -> bool:
        worker, number = slot.worker, slot.number
        if number in self._loans:
            # Who was found late has to stamp before it counts as serving: a sibling has emptied its queue.
            return serves(worker, now, 0.0) and worker is not None and worker.shown[STAMP] >= self._lent_at[number]
        return serves(worker, now, now - self._waits[number][1] if number in self._waits else None)

    def _lend(self, slot: int, worker: Worker, sockets: list[int]) -> None:
        try:
            worker.channel.send_parcel(Lend(slot), sockets)
        except (ChannelClosed, OSError):  # the next look finds it dead, or tries again
            return
        logger.debug("New connections of slot %d go to pid %d", slot, worker.pid)
        self._loans[slot] = worker
        self._lent[slot] = sockets
        self._lent_at[slot] = self._clock()

    def _take_back(self, slot: int, worker: Worker) -> None:
        try:
            if worker.state is State.READY:  # otherwise it has stopped to accept, all of it
                worker.channel.send(GiveBack(slot))
        except BlockingIOError:
            return
        except ChannelClosed:
            pass
        logger.debug("New connections of slot %d go no longer to pid %d", slot, worker.pid)
        del self._loans[slot]
